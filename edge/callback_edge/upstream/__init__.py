"""The gRPC client of the servers."""
