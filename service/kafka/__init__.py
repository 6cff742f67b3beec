"""The wire: topics, partitioning, headers, and the Kafka clients as Recibo needs them."""

from service.kafka import creation

# Here, for no module that makes a client can be imported before its package.
creation.forbid()
