"""The two logs: what providers said, and what we concluded. One SQL statement per file."""
