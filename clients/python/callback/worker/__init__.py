"""Handlers, and the worker and the server that run them. Import their public names from `callback`."""
