"""The command line `callback`: a client of a Callback server, and the commands that start one.

1. A command prints its result as text for people (`text_view`) or as JSON with the names of the contract
   (`callback.json_form`). Recorded credentials are masked (`callback.masking`) before that, except in JSON for a
   file or a program.
2. Every command ends with one of the exit codes in `errors.EXIT_CODES`, which `callback --help` lists.
3. Server, edge and the embedded store are imported only inside the commands that need them.
"""

import os

# gRPC's own log lines add nothing to our errors. gRPC reads this variable when it is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
