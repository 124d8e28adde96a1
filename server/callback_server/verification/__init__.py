"""Verification of senders: the profiles that an operator declares under `[profiles.NAME]`."""
