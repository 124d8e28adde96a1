"""`python -m callback_cli` is `callback`."""

from callback_cli.main import main

if __name__ == "__main__":
    main()
