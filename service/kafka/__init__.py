"""The wire: topics, partitioning, headers, and the Kafka clients as Recibo needs them."""
