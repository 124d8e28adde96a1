"""URLs of stores: one address, Sentinels, or a cluster, each with and without TLS."""

import pytest

from callback_server.settings import ServerSettings
from callback_server.store.connection.store_url import Topology, check_url, parse_store_url


@pytest.mark.parametrize(
    ("url", "topology", "is_tls", "addresses"),
    [
        ("redis://h:1/3", Topology.ADDRESS, False, []),
        ("rediss://:secret@h", Topology.ADDRESS, True, []),
        ("unix:///run/store", Topology.ADDRESS, False, []),
        ("redis+sentinel://a,b:2,[::1]:3/NAME", Topology.SENTINEL, False, [("a", 26379), ("b", 2), ("::1", 3)]),
        ("rediss+sentinel://me:s%2Fcret@a,b/NAME/2", Topology.SENTINEL, True, [("a", 26379), ("b", 26379)]),
        ("redis+cluster://a,b:2", Topology.CLUSTER, False, [("a", 6379), ("b", 2)]),
        ("redis+cluster://[::1]:1,[::2]:2", Topology.CLUSTER, False, [("::1", 1), ("::2", 2)]),
        ("rediss+cluster://me:secret@a", Topology.CLUSTER, True, [("a", 6379)]),
    ],
)
def test_a_url_names_its_addresses(url, topology, is_tls, addresses):
    check_url(url)
    parsed = parse_store_url(url)
    assert (parsed.topology, parsed.is_tls, parsed.addresses) == (topology, is_tls, addresses)


def test_user_password_database_and_certificates_are_those_of_the_store_and_the_sentinels_have_their_own():
    parsed = parse_store_url(
        "rediss+sentinel://me:s%2Fcret@a,b/my%20name/2?ssl_ca_certs=/ca&sentinel_username=you&sentinel_password=o%26k"
    )
    assert parsed.service == "my name"
    assert parsed.options == {"username": "me", "password": "s/cret", "db": 2, "ssl_ca_certs": "/ca"}
    assert parsed.sentinel_options == {"username": "you", "password": "o&k", "ssl_ca_certs": "/ca"}


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis+sentinel://a,b", "must name the service of the Sentinels"),
        ("redis+sentinel://a,,b/NAME", "must be a URL such as"),
        ("redis+cluster://a:x", "must be a URL such as"),
        ("redis://me:hunter2@[::1", "must be a URL such as"),
        ("redis+cluster://me:12/hunter2@a", "must be a URL such as"),
        ("redis+proxy://a", "must begin with"),
    ],
)
def test_another_text_is_refused_without_being_repeated(url, problem):
    with pytest.raises(ValueError, match=problem) as refused:
        check_url(url)
    assert "hunter2" not in str(refused.value)


def test_the_passwords_may_be_in_files(tmp_path):
    files = {name: tmp_path / name for name in ("store_password_file", "store_sentinel_password_file")}
    for name, file in files.items():
        file.write_text(f"{name} +&/\n")
    settings = ServerSettings(store_url="redis+sentinel://me@a,[::1]:2/NAME?sentinel_username=you", **files)
    parsed = parse_store_url(settings.read_store_url())
    assert (parsed.options["username"], parsed.options["password"]) == ("me", "store_password_file +&/")
    assert parsed.sentinel_options == {"username": "you", "password": "store_sentinel_password_file +&/"}


@pytest.mark.parametrize(
    ("url", "problem"),
    [("redis://a", "needs a store_url with Sentinels"), ("redis+sentinel://a/N?sentinel_password=x", "exclude each")],
)
def test_a_file_with_the_password_of_sentinels_needs_sentinels_without_one(tmp_path, url, problem):
    with pytest.raises(ValueError, match=problem):
        ServerSettings(store_url=url, store_sentinel_password_file=tmp_path / "password")
