"""Addresses to listen on, and networks."""

import pytest

from callback_process.addresses import Address, parse_bind, parse_network


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:65535", Address("::1", 65535)),
        ("edge.internal:80", Address("edge.internal", 80)),
    ],
)
def test_an_address_is_parsed_and_printed_in_the_same_form(text, address):
    assert parse_bind(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080", "must be HOST:PORT"), (":8080", "must be HOST:PORT"), ("127.0.0.1", "must be HOST:PORT"),
        ("127.0.0.1:", "port from 0 to 65535"), ("127.0.0.1:65536", "port from 0 to 65535"),
        ("127.0.0.1:-1", "port from 0 to 65535"), ("127.0.0.1:٣", "port from 0 to 65535"), ("::1:8080", "in brackets"),
        ("[127.0.0.1]:1", "in the brackets"), ("http://127.0.0.1:1", "must be HOST:PORT"),
        ("edge/x:1", "must be HOST:PORT"), ("ed ge:1", "must be HOST:PORT"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_the_expected_form(text, expected):
    with pytest.raises(ValueError, match=expected):
        parse_bind(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
        ("::", False), ("10.0.0.1", False), ("localhost.example", False),
    ],
)  # fmt: skip
def test_only_addresses_that_no_other_machine_reaches_are_loopback(host, loopback):
    assert Address(host, 1).is_loopback is loopback


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/24", "10.0.0.0/24"), ("10.0.0.1", "10.0.0.1/32"), ("10.0.0.1/32", "10.0.0.1/32"),
        ("0.0.0.0/0", "0.0.0.0/0"), ("10.0.0.0/255.255.255.0", "10.0.0.0/24"), ("2001:db8::/32", "2001:db8::/32"),
        ("2001:db8::1", "2001:db8::1/128"), ("::/0", "::/0"), ("::ffff:10.0.0.1", "10.0.0.1/32"),
        ("::ffff:10.0.0.0/120", "10.0.0.0/24"), ("::ffff:0:0/96", "0.0.0.0/0"),
    ],
)  # fmt: skip
def test_a_network_is_parsed_in_every_notation(text, network):
    assert str(parse_network(text)) == network


@pytest.mark.parametrize("text", ["10.0.0.1/24", "2001:db8::1/32", "10.0.0.1/0", "10.0.0.1/255.255.255.0"])
def test_an_address_with_a_prefix_length_is_refused(text):
    with pytest.raises(ValueError, match=r"must be \S+/[0-9]+ for the network, or \S+1 for the address alone"):
        parse_network(text)


@pytest.mark.parametrize("text", ["", "/", "x", "10.0.0.0/33", "10.0.0/8", "10.0.0.0:80", "[::1]"])
def test_an_invalid_network_is_refused(text):
    with pytest.raises(ValueError, match="must be an address or a network"):
        parse_network(text)
