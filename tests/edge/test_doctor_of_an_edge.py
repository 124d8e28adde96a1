"""Findings of `callback doctor` on the machine of an edge, with a real server behind it."""

import asyncio
import hashlib

import pytest
import trustme
from grpc_health.v1 import health_pb2
from support.edge import control_plane
from support.handler import handler_service
from support.store import free_port
from support.system import Process

from callback_edge import doctor
from callback_edge.settings import EdgeSettings
from callback_process.findings import Level

ROLES = {"edge": "edge", "orders": "owner"}
"""Principals, each with a token `callback_` and its name, and their role."""


async def found(**settings):
    """Return the findings of an edge without a proxy: check to level and text."""
    settings = EdgeSettings(**{"trusted_proxies": [], "admin_bind": "127.0.0.1:0", **settings})
    return {
        each.check: (each.level, f"{each.seen}; {each.advice}".rstrip("; "))
        for look in doctor.CHECKS
        async for each in look(settings)
    }


@pytest.fixture(autouse=True)
def a_busy_server_is_waited_for(limits):
    limits(doctor, TIMEOUT_S=60)


@pytest.fixture
def token_file(tmp_path):
    """Write a file with a token."""

    def write(token):
        file = tmp_path / "token"
        file.write_text(f"{token}\n")
        file.chmod(0o600)
        return file

    return write


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Create certificates of one authority, and a file of principals."""
    directory = tmp_path_factory.mktemp("doctor")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    for name in ("localhost", "edge.example"):
        made = authority.issue_cert(name)
        made.private_key_pem.write_to_path(directory / f"{name}.key")
        made.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
        (directory / f"{name}.key").chmod(0o600)
    trustme.CA().cert_pem.write_to_path(directory / "other-ca.pem")
    (directory / "principals.toml").write_text(
        "\n".join(
            f'[principals.{name}]\nroles = ["{role}"]\n[[principals.{name}.tokens]]\n'
            f'sha256 = "{hashlib.sha256(f"callback_{name}".encode()).hexdigest()}"'
            for name, role in ROLES.items()
        )
    )
    return directory


@pytest.fixture(scope="module")
async def server(directory, store_of):
    """Run a server with principals and TLS, and return its target."""
    process = Process(
        "callback_server",
        directory / "server.log",
        CALLBACK_STORE_URL=store_of().url,
        CALLBACK_GRPC_BIND="127.0.0.1:0",
        CALLBACK_ADMIN_BIND="127.0.0.1:0",
        CALLBACK_PRINCIPALS_FILE=str(directory / "principals.toml"),
        CALLBACK_TLS_CERT_FILE=str(directory / "localhost.pem"),
        CALLBACK_TLS_KEY_FILE=str(directory / "localhost.key"),
    )
    await asyncio.to_thread(process.start)
    yield f"localhost:{process.facts['grpc'].rpartition(':')[2]}"
    process.stop()


async def test_an_edge_with_access_to_its_server_has_no_problem(server, directory, token_file):
    file = token_file("callback_edge")
    assert await found(server_target=server, server_token_file=file, server_tls={"ca_file": directory / "ca.pem"}) == {
        "edge server_token_file": (Level.OK, f"{file} is readable, and not by everyone"),
        "edge server_tls.ca_file": (Level.OK, f"{directory / 'ca.pem'}, valid until 3000-01-01"),
        "edge server_target": (Level.OK, f"{server} is serving"),
        "edge role": (Level.OK, f"{server} accepts calls from this edge"),
    }


@pytest.mark.parametrize(
    ("token", "seen", "advice"),
    [
        (None, "does not know this edge", "callback token NAME --role edge"),
        ("callback_hunter2", "does not know this edge", "callback token NAME --role edge"),
        ("callback_orders", "refuses calls from this edge", "give its principal the role edge"),
    ],
    ids=["without a token", "with one that is not known", "with another role"],
)
async def test_an_edge_without_access_is_a_problem_with_advice(server, directory, token_file, token, seen, advice):
    file = token_file(token) if token else None
    said = await found(server_target=server, server_token_file=file, server_tls={"ca_file": directory / "ca.pem"})
    assert said["edge server_target"][0] is Level.OK
    level, text = said["edge role"]
    assert level is Level.PROBLEM
    assert text.startswith(f"{server} {seen}")
    assert advice in text
    assert "hunter2" not in str(said)


@pytest.mark.parametrize("token", [None, "callback_edge"])
async def test_a_server_that_needs_no_token_may_be_another_one(plane, token_file, token):
    said = await found(server_target=plane.target, server_token_file=token_file(token) if token else None)
    level, text = said["edge role"]
    assert "accepts calls from every client: it has no principals" in text
    assert ("may not be the server that this edge has its token for" in text) == bool(token)
    assert level is (Level.WARNING if token else Level.OK)


async def test_a_target_that_no_setting_names_is_told(plane):
    settings = EdgeSettings.model_construct(set(), server_target=plane.target)
    said = [each async for each in doctor.check_server(settings)]
    assert said[0].seen == f"{plane.target}, the default, is serving"


@pytest.mark.parametrize("tls", [None, {}, {"ca_file": "other-ca.pem"}], ids=["none", "the system's", "another's"])
async def test_tls_that_does_not_match_the_server_is_a_problem(server, directory, tls):
    files = tls and {name: directory / file for name, file in tls.items()}
    level, text = (await found(server_target=server, server_tls=files))["edge server_target"]
    assert level is Level.PROBLEM
    assert text.startswith(f"{server} cannot be reached: ")
    assert text.endswith("; start the server, or set server_target and server_tls")


async def test_a_certificate_of_another_name_is_a_problem(server, directory):
    tls = {"ca_file": directory / "ca.pem", "server_name": "callback.example"}
    level, text = (await found(server_target=server, server_tls=tls))["edge server_target"]
    assert (level, "Hostname Verification Check failed" in text) == (Level.PROBLEM, True)


async def test_files_that_do_not_match_are_reported_and_no_server_is_asked(server, directory):
    tls = {"cert_file": directory / "edge.example.pem", "key_file": directory / "localhost.key"}
    said = await found(server_target=server, server_tls=tls)
    assert said.keys() == {"edge server_tls.key_file", "edge server_tls.cert_file"}
    level, text = said["edge server_tls.cert_file"]
    assert (level, "is not the key of" in text) == (Level.PROBLEM, True)


async def test_a_file_without_a_token_is_a_problem_and_is_not_shown(token_file):
    level, text = (await found(server_token_file=token_file("two hunter2 words")))["edge server_token_file"]
    assert (level, "must contain one token" in text, "hunter2" in text) == (Level.PROBLEM, True, False)


async def test_an_unreachable_server_is_a_problem():
    target = f"127.0.0.1:{free_port()}"
    level, text = (await found(server_target=target))["edge server_target"]
    assert (level, text.startswith(f"{target} cannot be reached: ")) == (Level.PROBLEM, True)


async def test_another_grpc_server_is_a_problem():
    async with handler_service("order-paid") as service:
        target = service.config.split('"')[1]
        said = await found(server_target=target)
    assert said == {
        "edge server_target": (Level.PROBLEM, f"{target} is not a Callback server; set server_target to one")
    }


async def test_a_server_that_is_not_serving_is_a_problem():
    async with control_plane() as plane:
        await plane.serving(False)
        level, text = (await found(server_target=plane.target))["edge server_target"]
        assert (level, "answers but is not serving" in text) == (Level.PROBLEM, True)
        await plane.health.set("callback.v1.EdgeService", health_pb2.HealthCheckResponse.SERVING)  # before it is ready
        level, text = (await found(server_target=plane.target))["edge role"]
        assert (level, "is not ready; it stops, or its store does not answer" in text) == (Level.PROBLEM, True), text


async def test_each_of_several_servers_is_checked(plane):
    settings = EdgeSettings(server_target=f"127.0.0.1:{free_port()},{plane.target}")
    said = [(each.check, each.level) async for each in doctor.check_server(settings)]
    assert said == [
        ("edge server_target", Level.PROBLEM), ("edge server_target", Level.OK), ("edge role", Level.OK),
    ]  # fmt: skip


async def test_broken_templates_are_a_problem_in_the_words_of_a_start(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("{{ headding }}")
    lost = f"127.0.0.1:{free_port()}"
    level, text = (await found(server_target=lost, templates_dir=tmp_path))["edge templates_dir"]
    assert level is Level.PROBLEM
    assert text.startswith(f"templates_dir {tmp_path}: page.html: 'headding' is undefined; ")
    page.unlink()
    (tmp_path / "style.css").write_text("")
    seen = (await found(server_target=lost, templates_dir=tmp_path))["edge templates_dir"]
    assert seen == (Level.OK, f"{tmp_path} renders every page")


@pytest.mark.parametrize("known", [[], ["10.0.0.1"]])
async def test_an_edge_with_unknown_proxies_is_warned_that_no_limit_per_address_applies(known):
    lost = f"127.0.0.1:{free_port()}"
    level, text = (await found(server_target=lost, trusted_proxies=None))["edge trusted_proxies"]
    assert (level, "no limit per address applies" in text) == (Level.WARNING, True)
    assert "edge trusted_proxies" not in await found(server_target=lost, trusted_proxies=known)


async def test_a_token_in_plain_text_to_another_machine_is_a_warning(token_file):
    file = token_file("callback_edge")

    async def told(**settings):
        settings = EdgeSettings(server_token_file=file, **settings)
        return {each.check: (each.level, each.seen) async for each in doctor.check_token(settings)}.get(
            "edge server_tls"
        )

    elsewhere = {"server_target": "callback.example:50051"}
    level, seen = await told(**elsewhere, allow_plaintext=True)
    assert (level, "callback.example:50051 in plain text" in seen) == (Level.WARNING, True)
    assert await told(**elsewhere, server_tls={}) is None
    assert await told(server_target="127.0.0.1:50051") is None


async def test_a_logo_that_is_no_image_is_a_problem_in_the_words_of_a_start(tmp_path):
    logo = tmp_path / "logo.svg"
    logo.write_text("<html>")
    level, text = (await found(brand_logo_file=logo))["edge brand_logo_file"]
    assert level is Level.PROBLEM
    assert text.startswith(f"brand_logo_file {logo}: is not an SVG, PNG or JPEG image; ")
    logo.write_text("<svg/>")
    assert (await found(brand_logo_file=logo))["edge brand_logo_file"] == (Level.OK, f"{logo} is an image")
