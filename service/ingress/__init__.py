"""Stage 1: HTTP to log. A delivery is verified, appended durably, and only then answered."""
