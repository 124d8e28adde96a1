"""The control plane: keeps cases in the store, runs calls, answers internal services and the edge over gRPC."""

import callback_process  # noqa: F401  # before gRPC: it says why
