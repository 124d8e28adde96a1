"""Triage, for the command line and the console: why a call or callback is as it is, and replay of what failed.

`reasons` gives names of texts, and `texts` has them in each language.
"""
