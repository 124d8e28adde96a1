"""Everything that works around the limits of grpc.aio, and why.

| file | works around |
|---|---|
| `listeners.py` | a grpc.aio server accepts one RPC per turn of the event loop, and crashes if it is stopped twice |
| `method_router.py` | grpc.aio is slow with many methods, and parses a message before a method can refuse it |
| `batcher.py` | grpc.aio starts each RPC in its own turn, so concurrent RPCs do not reach the store together |
| `stream_reading.py` | cancelling a read cancels the whole RPC |
| `log_filter.py` | grpc logs and prints what clients sent, credentials included |
"""
