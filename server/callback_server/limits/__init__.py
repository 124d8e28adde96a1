"""Limits per owner."""
