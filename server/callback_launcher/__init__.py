"""The launcher: starts, watches and ends the processes of a system, for `callback up`, `callback prove` and tests.

1. A process ends with the one that started it (`die_with_parent.py`), however that ends.
2. All functions block. On an event loop, use `asyncio.to_thread`.
"""
