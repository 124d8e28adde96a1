"""What every process of ours does: settings, logs, addresses, and a stop that comes to an end.

No Redis, no gRPC and no web framework here: the server, the edge and `callback up` stand on it alike.
"""

import os

# gRPC's core writes to standard error by itself, lines that are not JSON and that nothing masks. It reads this when it
# is first imported, so packages that use gRPC import this one before.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
