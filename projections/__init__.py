"""The functional core: what deliveries mean, as pure functions without I/O and without a clock."""
