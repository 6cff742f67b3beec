"""An exported folder: what is in it, whether it is whole, and the states that fold out of it.

Nothing here knows of Postgres or Kafka: a folder and `projections` are enough. It needs the optional
extra `analysts`, and `spark` where Spark is asked for; `service.extras` says so where one is missing.
"""
