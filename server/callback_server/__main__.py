"""`python -m callback_server`: settings from the environment and the file that CALLBACK_CONFIG names."""

import sys

from callback_process.settings import SettingsError
from callback_server.main import run
from callback_server.settings import ServerSettings


def main() -> int:
    """Runs the server. Returns the exit code; 2 if a setting is wrong."""
    try:
        settings = ServerSettings.load()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return run(settings)


if __name__ == "__main__":
    sys.exit(main())
