"""What every process of ours does: settings, logs, addresses, and a stop that comes to an end.

No Redis, no gRPC and no web framework here: the server, the edge and `callback up` stand on it alike.
"""
