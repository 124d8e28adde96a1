"""Sealing: encryption of what lies in the store, under keys that do not."""
