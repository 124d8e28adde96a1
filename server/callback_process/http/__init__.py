"""HTTP/1.1 of the edge and the console. Only this package uses internals of Hypercorn and h11.

`listener` accepts connections; `connection` reads and writes one; `protocol` and `parser` are its HTTP. What answers
the requests is a `Service`. A test, `tests/process/test_internals.py`, names each internal that this package relies on.
"""
