"""Log → Kafka: one relay for each of the two logs, by the same code."""
