"""Handlers that the server calls over HTTP: requests signed by Standard Webhooks, and their answers."""
