"""The connection to the store."""
