"""Limits of a process and of each owner: places of calls, calls in a minute, bytes of bodies, open cases."""
