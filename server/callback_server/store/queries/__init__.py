"""Scripts and commands that only read."""
