"""Parts of a gRPC connection that clients and workers share: channel options, TLS, tokens, backoff."""
