"""Entry point of `python -m callback_server`, with settings from the environment and the file in CALLBACK_CONFIG."""

import sys

from callback_process.imports import uncollected

with uncollected():
    from callback_process import entry_point
    from callback_server.main import run
    from callback_server.settings import ServerSettings


def main() -> int:
    """Run the server, and return the exit code: 2 if a setting is wrong."""
    return entry_point.main(ServerSettings.load, run)


if __name__ == "__main__":
    sys.exit(main())
