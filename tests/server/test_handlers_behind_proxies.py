"""HTTP handlers behind nginx and HAProxy: what a proxy says for its handler decides, and how often that is asked.

Each proxy has two handlers, as in a deployment of more than one.
"""

import contextlib
import os
import socket

import pytest
from support.http_handlers import SECRET, HttpHandlerServer, answer, http_activity
from support.services import refusal, running_services
from support.store import free_port
from support.tools import require

from callback import verify_handler_request
from callback.v1 import callback_pb2 as pb
from callback_launcher.child import Child, running

NGINX = """\
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    {places}
    upstream handlers {{ {servers} }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://handlers; {settings} }}
    }}
}}
"""
HAPROXY = """\
defaults
    mode http
    timeout connect 60s
    timeout client 60s
    timeout server 60s
listen handlers
    bind 127.0.0.1:{port}
    {servers}
"""
METHODS = ("get", "post", "put", "patch", "delete")
TWICE = ("get", "put", "delete")
"""The methods of requests that nginx sends again by default: HTTP calls them idempotent."""


def _nginx(folder, port, handlers, settings):
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    (folder / "nginx.conf").write_text(
        NGINX.format(
            folder=folder, port=port, settings=settings, places=" ".join(f"{k}_temp_path {folder / k};" for k in kinds),
            servers=" ".join(f"server 127.0.0.1:{each} max_fails=0;" for each in handlers),
        )
    )  # fmt: skip
    user = " user root;" if os.geteuid() == 0 else ""  # only the owner can read the folders of tests
    return "-c", folder / "nginx.conf", "-e", folder / "start.log", "-g", f"daemon off;{user}"


def _haproxy(folder, port, handlers, _settings):
    servers = "\n    ".join(f"server handler{n} 127.0.0.1:{each}" for n, each in enumerate(handlers))
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, servers=servers))
    return "-f", folder / "haproxy.cfg", "-db"


@contextlib.asynccontextmanager
async def behind(kind, folder, handlers, settings=""):
    """Run a proxy in front of handlers at these ports, and return its URL."""
    port = free_port()
    configure = {"nginx": _nginx, "haproxy": _haproxy}[kind]
    command = [require(kind), *map(str, configure(folder, port, handlers, settings))]

    def accepts():
        with socket.create_connection(("127.0.0.1", port)):
            return True

    async with running(Child(name=kind, command=command, is_healthy=accepts, log=folder / "output.log")):
        yield f"http://127.0.0.1:{port}/hook"


@contextlib.asynccontextmanager
async def asking(kind, store, folder, given, settings=""):
    """Run services whose activity `act` has two handlers behind a proxy, which both give this answer."""
    async with (
        HttpHandlerServer(given) as one,
        HttpHandlerServer(given) as other,
        behind(kind, folder, (one.port, other.port), settings) as url,
        running_services(store, activities={"act": http_activity(url, folder)}) as services,
    ):
        services.requests = lambda: [*one.requests, *other.requests]
        yield services


async def failed(services, method, body=b""):
    """Call a new callback, which fails. Return why, and how often the handlers were asked."""
    before = len(services.requests())
    made = await services.generate("act")
    said = await refusal(services.call(made, method=method, body=body))
    call = await services.ended(made)
    assert "<html>" not in said.text + call.failure_detail
    assert (call.status, (await services.case_of(made)).status) == (pb.CALL_STATUS_FAILED, pb.CALLBACK_STATUS_CLOSED)
    return call.failure, len(services.requests()) - before


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
async def test_a_request_that_passes_a_proxy_is_as_it_was_signed(shared_store, tmp_path, kind):
    async with asking(kind, shared_store, tmp_path, answer(201, b"paid")) as services:
        for method in METHODS:
            body = b"" if method in ("get", "delete") else b"\x00\xff" * 10_000
            said = await services.call(await services.generate("act"), method=method, body=body)
            assert (said.response.response_code, said.response.response_body) == (201, b"paid")
        assert sorted(each.method.lower() for each in services.requests()) == sorted(METHODS)
        for each in services.requests():
            verify_handler_request(SECRET, each.headers.items(), each.body)


@pytest.mark.parametrize("settings", ["", "proxy_next_upstream off;"], ids=["by default", "as the page says"])
async def test_nginx_sends_a_request_again_unless_it_is_told_not_to(shared_store, tmp_path, settings):
    async with asking("nginx", shared_store, tmp_path, None, settings) as services:
        for method in METHODS:
            asked = 2 if method in TWICE and not settings else 1
            assert await failed(services, method) == (pb.CALL_FAILURE_HANDLER_ERROR, asked), method


async def test_haproxy_sends_no_request_again(shared_store, tmp_path):
    async with asking("haproxy", shared_store, tmp_path, None) as services:
        for method in METHODS:
            failure, asked = await failed(services, method)
            # The first request of a connection gets a 502. Then HAProxy ends the connection without an answer.
            assert failure in (pb.CALL_FAILURE_HANDLER_ERROR, pb.CALL_FAILURE_HANDLER_LOST), method
            assert asked == 1, method


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
async def test_a_proxy_that_reaches_no_handler_fails_the_call_because_it_took_the_request(shared_store, tmp_path, kind):
    async with (
        behind(kind, tmp_path, (free_port(), free_port())) as url,
        running_services(shared_store, activities={"act": http_activity(url, tmp_path)}) as services,
    ):
        services.requests = list
        assert await failed(services, "post", b"paid") == (pb.CALL_FAILURE_HANDLER_ERROR, 0)
