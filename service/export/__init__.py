"""Export: the log, the facts and the states into a folder of Parquet files, again and again."""
