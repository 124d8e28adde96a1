"""Addresses to listen on."""

import pytest

from callback_process.addresses import Address, parse_bind


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:65535", Address("::1", 65535)),
        ("edge.internal:80", Address("edge.internal", 80)),
    ],
)
def test_an_address_is_read_and_written_alike(text, address):
    assert parse_bind(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080", "must be HOST:PORT"),
        (":8080", "must be HOST:PORT"),
        ("127.0.0.1", "must be HOST:PORT"),
        ("127.0.0.1:", "port from 0 to 65535"),
        ("127.0.0.1:65536", "port from 0 to 65535"),
        ("127.0.0.1:-1", "port from 0 to 65535"),
        ("127.0.0.1:٣", "port from 0 to 65535"),
        ("::1:8080", "in brackets"),
        ("[127.0.0.1]:1", "in the brackets"),
        ("http://127.0.0.1:1", "must be HOST:PORT"),
        ("edge/x:1", "must be HOST:PORT"),
        ("ed ge:1", "must be HOST:PORT"),
    ],
)
def test_anything_else_is_refused_with_what_is_expected(text, expected):
    with pytest.raises(ValueError, match=expected):
        parse_bind(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_only_addresses_that_no_other_machine_reaches_are_loopback(host, loopback):
    assert Address(host, 1).is_loopback is loopback
