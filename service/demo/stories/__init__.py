"""The chapters of the script, one module per provider: each order, dispute or cart a function. Pure."""
