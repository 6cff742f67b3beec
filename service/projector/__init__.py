"""Kafka → projections → state, outbox, position: one transaction."""
