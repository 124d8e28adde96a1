"""Epochs of the store: how an old primary is recognized, what a server remembers of it, and which steps were lost."""
