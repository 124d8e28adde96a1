"""The gRPC services: each method converts, calls, and converts back. One place maps refusals to statuses."""
