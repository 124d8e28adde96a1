"""HTTP/1.1 connections: the only package that knows internals of Hypercorn and h11."""
