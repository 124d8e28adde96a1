"""Limits of a process and of each owner: slots of calls, calls in a minute, bytes of bodies, open cases."""
