"""`callback prove NAME`: runs a system, breaks its processes under load, and checks each promise by the history."""
