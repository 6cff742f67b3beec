"""The lifeboat: where deliveries go while Postgres is away, and their way from there into the log."""
