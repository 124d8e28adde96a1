"""The entry point of `python -m callback_cli`, which equals `callback`."""

from callback_cli.main import main

if __name__ == "__main__":
    main()
