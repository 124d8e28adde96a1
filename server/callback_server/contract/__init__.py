"""Conversion between the messages of the contract and domain values, and validation of messages."""
