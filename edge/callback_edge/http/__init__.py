"""HTTP/1.1 connections. Only this package uses internals of Hypercorn and h11.

`listener` accepts connections; `connection` reads and writes one; `protocol` and `parser` are its HTTP. A test,
`tests/edge/test_internals.py`, names each internal that they rely on.
"""
