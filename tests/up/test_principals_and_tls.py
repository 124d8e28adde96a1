"""`callback up` with principals and TLS in its configuration, as in production but on one machine."""

import httpx
import pytest
import trustme
from support.up import serves_reflection

from callback import CallbackClient, Response, Tls, UnauthenticatedError
from callback_server.access.roles import Role
from callback_server.access.tokens import add_token


@pytest.fixture
def directory(tmp_path):
    """Write files of principals, tokens and certificates, and the `callback.toml` that names them."""
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


def test_it_runs_with_principals_and_tls(make_up, directory):
    up = make_up(config=str(directory / "callback.toml")).start()
    tls = Tls(ca_file=directory / "ca.pem")
    with CallbackClient(up.grpc, tls=tls, token_file=directory / "orders.token") as client:
        made = client.generate_callback_url("record", Response("ok"))
        assert httpx.get(made.url).text == "ok"
        assert client.get_callback(made.case_id).owner == "orders"
    with CallbackClient(up.grpc, tls=tls) as client, pytest.raises(UnauthenticatedError):
        client.get_callback(made.case_id)
    assert up.interrupt() == 0


@pytest.mark.parametrize(("said", "on"), [("", False), ("true", True)])
def test_reflection_is_off_by_default(make_up, directory, said, on):
    config = directory / "callback.toml"
    config.write_text("".join(line for line in config.read_text().splitlines(True) if "tls" not in line))
    up = make_up(config=str(config))
    up.environment["CALLBACK_REFLECTION"] = said
    up.start()
    assert serves_reflection(up.grpc) is on


def test_the_demo_reports_that_it_has_no_token(make_up, directory):
    config = directory / "callback.toml"
    config.write_text("".join(line for line in config.read_text().splitlines(True) if "tls" not in line))
    up = make_up(config=str(config), demo=True).spawn()
    assert up.process.wait(60) == 1
    assert "callback up: --demo has no token; do not use it with principals" in up.said()
