"""How state is stored and loaded: one table per aggregate, one row per root's timeline."""
