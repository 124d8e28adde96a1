"""The command line `callback`: an ordinary client of a Callback server, and the way to start one.

1. What a command prints is one of two forms of the same values: readable (`screen`), or JSON with the contract's names
   (`json_view`). What is recorded from outside is masked (`masking`) before either sees it.
2. Every command ends with one of the exit codes in `failures.EXIT_CODES`, which `callback --help` lists.
3. Server, edge and the embedded store are imported by their own commands only.
"""

import os

# gRPC's own lines on the terminal say nothing that our errors do not. It reads this when it is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
