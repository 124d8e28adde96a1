"""The gRPC services: each method converts its request, does its work, and converts the result."""
