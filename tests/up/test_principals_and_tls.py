"""`callback up` with principals and TLS in its configuration, as in production but on one machine."""

import grpc
import httpx
import pytest
import trustme
from support.up import serves_reflection

from callback import CallbackClient, Response, Tls, UnauthenticatedError
from callback_server.access.roles import Role
from callback_server.access.tokens import add_token


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Write files of principals, tokens and certificates, and the `callback.toml` that names them."""
    tmp_path = tmp_path_factory.mktemp("configuration")
    principals = tmp_path / "principals.toml"
    for name, role in (("orders", Role.OWNER), ("edge", Role.EDGE)):
        (tmp_path / f"{name}.token").write_text(add_token(principals, name, [role], None))
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "server.key")
    (tmp_path / "callback.toml").write_text(
        f'[server]\nprincipals_file = "{principals}"\ntls_cert_file = "{tmp_path / "server.pem"}"\n'
        f'tls_key_file = "{tmp_path / "server.key"}"\n'
        f'[edge]\nserver_token_file = "{tmp_path / "edge.token"}"\nserver_tls = {{ca_file = "{tmp_path / "ca.pem"}"}}\n'
    )
    return tmp_path


@pytest.fixture(scope="module")
def protected(make_module_up, directory):
    """Run one with principals and TLS, which stops at the end of the module."""
    up = make_module_up(config=str(directory / "callback.toml"))
    up.environment["CALLBACK_REFLECTION"] = ""
    yield up.start()
    assert up.interrupt() == 0


def test_it_runs_with_principals_and_tls(protected, directory):
    tls = Tls(ca_file=directory / "ca.pem")
    with CallbackClient(protected.grpc, tls=tls, token_file=directory / "orders.token") as client:
        made = client.generate_callback_url("record", Response("ok"))
        assert httpx.get(made.url).text == "ok"
        assert client.get_callback(made.case_id).owner == "orders"
    with CallbackClient(protected.grpc, tls=tls) as client, pytest.raises(UnauthenticatedError):
        client.get_callback(made.case_id)


def test_reflection_is_off_by_default_with_principals(protected, directory):
    credentials = grpc.ssl_channel_credentials((directory / "ca.pem").read_bytes())
    assert not serves_reflection(protected.grpc, credentials)


def test_the_demo_reports_that_it_has_no_token(make_up, directory):
    config = directory / "without-tls.toml"
    lines = (directory / "callback.toml").read_text().splitlines(True)
    config.write_text("".join(line for line in lines if "tls" not in line))
    up = make_up(config=str(config), demo=True).spawn()
    assert up.ends() == 1
    assert "callback up: --demo has no token; do not use it with principals" in up.said()
