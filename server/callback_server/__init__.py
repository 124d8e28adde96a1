"""The control plane: keeps cases in the store, runs calls, answers internal services and the edge over gRPC."""
