"""Limits per owner: open cases, and calls in a minute. The limit of calls in flight is in `calls/invoke.py`."""
