"""Commands of the command line, each in a process of its own that starts in milliseconds.

`callback doctor` runs an event loop with grpc.aio. A test process has a loop with grpc.aio already, and grpc.aio can
crash a process that has several. So one program imports the command line once, and forks for each command before gRPC
is used.
"""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from click.testing import CliRunner


@contextlib.contextmanager
def command_line():
    """Return a function that runs a command with arguments and environment variables, and returns its output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CALLBACK_")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-m", "support.command_line"],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip

        def run(*arguments, **variables):
            process.stdin.write(json.dumps([arguments, variables]) + "\n")
            process.stdin.flush()
            return SimpleNamespace(**json.loads(process.stdout.readline()))

        yield run
        process.stdin.close()


def serve():
    """Run the commands that arrive on standard input, one per line."""
    # Import the modules of the commands once, before the forks: each import would cost a second.
    import callback_edge.doctor  # noqa: F401  # see above
    import callback_server.doctor  # noqa: F401  # see above
    from callback_cli.main import cli

    for line in sys.stdin:
        arguments, variables = json.loads(line)
        child = os.fork()
        if child == 0:
            ran = CliRunner().invoke(cli, arguments, prog_name="callback", env=variables)
            found = {name: getattr(ran, name) for name in ("exit_code", "output", "stdout", "stderr")}
            os.write(1, json.dumps(found).encode() + b"\n")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            os.write(1, json.dumps({"crashed": status}).encode() + b"\n")


if __name__ == "__main__":
    serve()
