"""Run the edge with the settings of the environment: `python -m callback_edge`."""

import sys

from callback_edge.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
