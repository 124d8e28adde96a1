"""What works around grpc.aio."""
