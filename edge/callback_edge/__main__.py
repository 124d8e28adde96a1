"""`python -m callback_edge`: the edge, with the settings of the environment."""

import sys

from callback_edge.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
