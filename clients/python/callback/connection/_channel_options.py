"""How this library's channels and servers are set, and why."""

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""The largest message accepted, as the server does. gRPC's 4 MiB would cut a full page of a list."""

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A peer that vanished without a word is noticed while a call waits, well within the default deadline, and the next
    # call gets a new connection. `ping_timeout_ms` bounds an unanswered ping, `keepalive_timeout_ms` lost packets.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    # Also of a stream on which nothing is sent for long: a watch, a worker without calls. The default is two pings.
    ("grpc.http2.max_pings_without_data", 0),
    # A server that comes back is found again within two seconds; gRPC would wait up to two minutes. The minimum is also
    # the time that one attempt to connect may take.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # An internal service is not reached through the proxy for the web that the environment may name.
    ("grpc.enable_http_proxy", 0),
)
"""What a client's channel is made with."""

SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Without this a second server could take the same port, silently, and get half of the calls.
    ("grpc.so_reuseport", 0),
    # Callers may ping to notice a dead peer; gRPC's default takes that for an attack.
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.keepalive_permit_without_calls", 1),
)
"""What a handler server is made with."""
