"""Entry point of `python -m callback_console`, with settings from the environment and the file in CALLBACK_CONFIG."""

import sys

from callback_console.main import run
from callback_console.settings import ConsoleSettings
from callback_process.settings import SettingsError


def main() -> int:
    """Run the console, and return the exit code: 2 if a setting is wrong."""
    try:
        settings = ConsoleSettings.load()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return run(settings)


if __name__ == "__main__":
    sys.exit(main())
