"""Limits per caller and of this process, and who a caller is."""
