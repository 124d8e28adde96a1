"""Caller of a request, from its peer and its headers: the peer, or the address that a trusted proxy names."""

import ipaddress

import pytest
from pydantic import ValidationError

from callback_edge.settings import EdgeSettings
from callback_process.http.callers import CallerResolver

TRUSTED = [ipaddress.ip_network(each) for each in ("10.0.0.0/24", "192.0.2.1", "2001:db8:ffff::/48")]
PROXY = "10.0.0.1"


def caller(peer, *fields):
    headers = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    return CallerResolver(TRUSTED).peer(peer).caller_of(headers)


def forwarded(*values):
    return [("x-forwarded-for", value) for value in values]


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["198.51.100.7"], "198.51.100.7"), (["198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        (["198.51.100.7", "10.0.0.2"], "198.51.100.7"), (["198.51.100.7", "192.0.2.1,10.0.0.2"], "198.51.100.7"),
        (["6.6.6.6, 198.51.100.7"], "198.51.100.7"), (["6.6.6.6", "198.51.100.7"], "198.51.100.7"),
        (["10.0.0.3, 198.51.100.7"], "198.51.100.7"), (["rubbish, 198.51.100.7"], "198.51.100.7"),
        ([" \t198.51.100.7\t "], "198.51.100.7"), (["198.51.100.7:4711"], "198.51.100.7"),
        (["2001:db8::7"], "2001:db8::7"), (["[2001:db8::7]"], "2001:db8::7"), (["[2001:DB8::7]:4711"], "2001:db8::7"),
        (["2001:db8::7, 2001:db8:ffff::1"], "2001:db8::7"), (["::ffff:198.51.100.7"], "198.51.100.7"),
        (["198.51.100.7, ::ffff:10.0.0.2"], "198.51.100.7"), (["fe80::1%eth0"], "fe80::1"), (["10.0.0.9"], "10.0.0.9"),
        (["10.0.0.9, 10.0.0.8"], "10.0.0.9"),
    ],
)  # fmt: skip
def test_the_last_address_that_is_not_a_trusted_proxy_is_the_caller(values, address):
    assert caller(PROXY, *forwarded(*values)).address == address


@pytest.mark.parametrize(
    "value",
    [
        "", " ", ",", "unknown", "_hidden", "localhost", "198.51.100.7.", "198.51.100.256", "198.51.100", "0x7f.1", "1",
        "198.51.100.7:", "198.51.100.7:x", "198.51.100.7:123456", "[198.51.100.7]", "[2001:db8::7", "2001:db8::7]",
        "[2001:db8::7]4711", "[2001:db8::7]:", "[]", "[", '"198.51.100.7"', "for=198.51.100.7", "198.51.100.7/32",
        "198.51.100.7 6.6.6.6", "198.51.100.7;6.6.6.6", "\u0661.2.3.4", "198.51.100.7\x00", "caf\xe9", ":" * 4000,
        "1" * 9000, "rubbish, 10.0.0.2", "6.6.6.6,", "6.6.6.6, ", "6.6.6.6,,10.0.0.2", "6.6.6.6, unknown",
    ],
)  # fmt: skip
def test_the_proxy_is_the_caller_if_its_header_is_malformed(value):
    value = value.encode("utf-8").decode("latin-1")
    assert caller(PROXY, *forwarded(value)).address == PROXY


@pytest.mark.parametrize("peer", ["198.51.100.1", "10.0.1.1", "192.0.2.2", "2001:db8::1", "::1"])
def test_headers_of_an_untrusted_peer_do_not_count(peer):
    fields = [*forwarded("6.6.6.6", "10.0.0.2"), ("x-forwarded-proto", "https"), ("forwarded", "for=6.6.6.6")]
    found = caller(peer, *fields)
    assert (found.address, found.is_https) == (peer, False)


@pytest.mark.parametrize("peer", ["::ffff:10.0.0.1", "10.0.0.1", "2001:db8:ffff:1::1"])
def test_a_proxy_is_recognized_in_every_spelling_of_its_address(peer):
    assert caller(peer, *forwarded("198.51.100.7")).address == "198.51.100.7"


@pytest.mark.parametrize(
    ("values", "is_https"),
    [
        (["https"], True), (["HTTPS "], True), (["http"], False), ([], False), ([""], False), (["https, http"], False),
        (["http", "https"], True), (["ftp"], False),
    ],
)  # fmt: skip
def test_a_trusted_proxy_says_whether_its_caller_used_tls(values, is_https):
    assert caller(PROXY, *(("x-forwarded-proto", value) for value in values)).is_https is is_https


def test_other_forwarding_headers_do_not_count():
    fields = [("forwarded", "for=6.6.6.6"), ("x-real-ip", "6.6.6.6"), ("client-ip", "6.6.6.6"), ("via", "6.6.6.6")]
    assert caller(PROXY, *fields).address == PROXY


def test_addresses_of_one_ipv6_subscriber_are_one_caller():
    peers = ["2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:2::1", "198.51.100.7", "198.51.100.8"]
    groups = [caller(peer).group for peer in peers]
    assert groups[0] == groups[1]
    assert len({*groups}) == 4


@pytest.mark.parametrize("wrong", ["10.0.0.1/8", "proxy.example", "10.0.0.1:80", ""])
def test_a_proxy_is_an_address_or_a_network(wrong):
    with pytest.raises(ValidationError, match="trusted_proxies"):
        EdgeSettings(trusted_proxies=[wrong])
