"""The demo: everything started, a script of deliveries sent, what came of it held against the script."""
