"""Entry point of `python -m callback_edge`, with settings from the environment and the file in CALLBACK_CONFIG."""

import sys

from callback_process.imports import uncollected

with uncollected():
    from callback_edge.main import run
    from callback_edge.settings import EdgeSettings
    from callback_process import entry_point


def main() -> int:
    """Run the edge, and return the exit code: 2 if a setting is wrong."""
    return entry_point.main(EdgeSettings.load, run)


if __name__ == "__main__":
    sys.exit(main())
