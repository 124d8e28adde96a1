"""Limits per caller and of this process."""
