"""Calls: invoked, held, delivered after the answer, and ended by the sweeper."""
