"""What all processes share: settings, logs, addresses, probes, and a stop that ends in bounded time.

This package uses no Redis, no gRPC and no web framework: the server, the edge and `callback up` are all built on it.
"""

import os

# gRPC's core writes lines to standard error that are neither JSON nor masked. It reads this variable when it is first
# imported, so packages that use gRPC import this package first.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
