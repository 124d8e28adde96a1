"""gRPC client of the servers: `client` sends calls in batches over the streams of a `channel`."""
