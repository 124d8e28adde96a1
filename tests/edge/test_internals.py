"""Internals of Hypercorn, h11 and asyncio that `callback_edge.http` relies on.

The libraries may change these without notice. Each test names one of them, so that a new version says in plain words
what is gone and which module used it. The last tests keep the list complete.
"""

import ast
import asyncio
import importlib
import inspect
import platform
from dataclasses import dataclass
from importlib.metadata import version
from types import SimpleNamespace

import h11
import pytest
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from support.tree import PACKAGES

from callback_edge.http import config, connection, parser, protocol

EDGE = PACKAGES["callback_edge"]
HTTP = sorted((EDGE / "http").glob("*.py"))
LIBRARIES = ("hypercorn", "h11")
NAMES = {"hypercorn": "Hypercorn", "h11": "h11", "asyncio": "asyncio of Python"}


@dataclass(frozen=True)
class Internal:
    """Something in a library that a module of `http/` uses."""

    place: str
    """Module and name in it: `module:Class.method`."""
    user: str
    """Module of `http/` that uses it."""
    why: str
    """What fails without it."""
    parameters: str | None = None
    """Parameters that the module relies on, in their order. None: it is not called or overridden."""

    @property
    def library(self):
        return self.place.partition(".")[0].partition(":")[0]

    def __str__(self):
        return self.place


INTERNALS = [
    Internal("hypercorn.asyncio.tcp_server:TCPServer", "connection", "Connection is one",
             "app loop config context state reader writer"),
    Internal("hypercorn.asyncio.tcp_server:TCPServer.run", "connection", "it is replaced", "self"),
    Internal("hypercorn.asyncio.tcp_server:TCPServer.protocol_send", "connection", "it is replaced", "self event"),
    Internal("hypercorn.asyncio.tcp_server:TCPServer._read_data", "connection", "it is replaced", "self"),
    Internal("hypercorn.asyncio.tcp_server:TCPServer._close", "connection", "it is extended", "self"),
    Internal("hypercorn.asyncio.tcp_server:MAX_RECV", "connection", "it is the size of a read"),
    Internal("hypercorn.asyncio.task_group:TaskGroup", "connection", "_AppTasks is one", "loop"),
    Internal("hypercorn.asyncio.task_group:TaskGroup.spawn", "connection", "it runs a refusal", "self func"),
    Internal("hypercorn.asyncio.task_group:TaskGroup.spawn_app", "connection", "it is replaced",
             "self app config scope send"),
    Internal("hypercorn.asyncio.task_group:TaskGroup.__aenter__", "connection", "`run` enters it", "self"),
    Internal("hypercorn.asyncio.task_group:TaskGroup.__aexit__", "connection", "`run` leaves it",
             "self exc_type exc_value tb"),
    Internal("hypercorn.asyncio.worker_context:WorkerContext", "config", "EdgeContext is one", "max_requests"),
    Internal("hypercorn.config:Config", "config", "EdgeConfig is one", ""),
    Internal("hypercorn.config:Config.accesslog", "config", "paths must not be logged"),
    Internal("hypercorn.config:Config.errorlog", "config", "errors must be in the process's own logs"),
    Internal("hypercorn.config:Config.h11_max_incomplete_size", "config", "it limits a head"),
    Internal("hypercorn.config:Config.include_server_header", "config", "no answer may have `Server`"),
    Internal("hypercorn.config:Config.keep_alive_max_requests", "protocol", "it limits a connection's requests"),
    Internal("hypercorn.config:Config.max_app_queue_size", "connection", "it limits unread messages"),
    Internal("hypercorn.config:Config.response_headers", "config", "it adds the fixed headers", "self protocol"),
    Internal("hypercorn.events:Event", "connection", "it is a type"),
    Internal("hypercorn.events:Closed", "protocol", "it closes a connection", ""),
    Internal("hypercorn.events:Closed", "connection", "it ends the protocol", ""),
    Internal("hypercorn.events:RawData", "protocol", "it sends bytes", "data address"),
    Internal("hypercorn.events:Updated", "connection", "it marks a connection as idle or busy", "idle"),
    Internal("hypercorn.protocol.events:Event", "protocol", "it is a type"),
    Internal("hypercorn.protocol.events:Request", "protocol", "it starts a stream",
             "stream_id headers http_version method raw_path state"),
    Internal("hypercorn.protocol.events:Response", "protocol", "it is Hypercorn's own answer",
             "stream_id headers status_code"),
    Internal("hypercorn.protocol.h11:STREAM_ID", "protocol", "it is the one stream of a connection"),
    Internal("hypercorn.protocol.h11:H11Protocol", "protocol", "StrictHttpProtocol is one",
             "app config context task_group connection_state ssl client server send"),
    Internal("hypercorn.protocol.h11:H11Protocol.handle", "connection", "it takes what arrives", "self event"),
    Internal("hypercorn.protocol.h11:H11Protocol.stream_send", "protocol", "it is extended", "self event"),
    Internal("hypercorn.protocol.h11:H11Protocol._check_protocol", "protocol", "it offers HTTP/2", "self event"),
    Internal("hypercorn.protocol.h11:H11Protocol._create_stream", "protocol", "it is replaced", "self request"),
    Internal("hypercorn.protocol.h11:H11Protocol._close_stream", "protocol", "it is extended", "self"),
    Internal("hypercorn.protocol.h11:H11Protocol._send_error_response", "protocol", "it is replaced",
             "self status_code"),
    Internal("hypercorn.protocol.http_stream:HTTPStream", "protocol", "it runs the application",
             "app config context task_group ssl client server send stream_id"),
    Internal("hypercorn.protocol.http_stream:HTTPStream.handle", "protocol", "it takes a request", "self event"),
    Internal("hypercorn.protocol.http_stream:ASGIHTTPState", "protocol", "it is the state of a stream"),
    Internal("hypercorn.protocol.http_stream:ASGIHTTPState.CLOSED", "protocol", "an answered stream has it"),
    Internal("hypercorn.typing:ASGIFramework", "listener", "it is a type"),
    Internal("hypercorn.typing:ConnectionState", "connection", "it is a connection's state"),
    Internal("hypercorn.typing:LifespanState", "listener", "it is a type"),
    Internal("hypercorn.utils:parse_socket_addr", "connection", "it reads a peer's address", "family address"),
    Internal("h11:Connection", "parser", "StrictConnection is one", "our_role max_incomplete_event_size"),
    Internal("h11:Connection.receive_data", "parser", "it is extended", "self data"),
    Internal("h11:Connection.they_are_waiting_for_100_continue", "parser", "Hypercorn invites a body by it"),
    Internal("h11:Connection.send", "protocol", "it sends a 100", "self event"),
    Internal("h11:Connection.next_event", "parser", "it is extended", "self"),
    Internal("h11:Connection._respond_to_state_changes", "parser", "complete_answer calls it", "self old_states event"),
    Internal("h11._connection:ConnectionState.process_event", "parser", "complete_answer calls it",
             "self role event_type server_switch_event"),
    Internal("h11._connection:ConnectionState.process_keep_alive_disabled", "parser", "complete_answer calls it",
             "self"),
    Internal("h11._headers:normalize_and_validate", "parser", "complete_answer calls it", "headers _parsed"),
    Internal("h11._headers:Headers.raw_items", "protocol", "it gives names as they were sent", "self"),
    Internal("h11:Connection.start_next_cycle", "parser", "it is extended", "self"),
    Internal("h11._receivebuffer:ReceiveBuffer", "parser", "_StrictBuffer is one", ""),
    Internal("h11._receivebuffer:ReceiveBuffer.maybe_extract_lines", "parser", "it is extended", "self"),
    Internal("h11._receivebuffer:ReceiveBuffer.maybe_extract_next_line", "parser", "it is extended", "self"),
    Internal("h11:RemoteProtocolError", "parser", "it refuses input", "msg error_status_hint"),
    *(
        Internal(f"h11:{name}", user, "it is used by name")
        for name, user in [
            ("CLIENT", "parser"), ("IDLE", "parser"), ("SEND_BODY", "parser"), ("InformationalResponse", "protocol"),
            ("SERVER", "parser"), ("MUST_CLOSE", "parser"), ("CLOSED", "parser"), ("NEED_DATA", "parser"),
            ("ERROR", "protocol"), ("Request", "parser"), ("Response", "parser"), ("Data", "parser"),
            ("EndOfMessage", "parser"), ("LocalProtocolError", "protocol"),
        ]
    ),
]  # fmt: skip

ATTRIBUTES = {
    "TCPServer": (
        lambda: TCPServer(*[None] * 7),
        "connection",
        "app config context loop reader writer send_lock state",
    ),
    "StreamReader": (
        lambda: asyncio.StreamReader(loop=SimpleNamespace(get_debug=bool)),
        "connection",
        "_buffer _maybe_resume_transport",
    ),
    "TaskGroup": (lambda: TaskGroup(None), "connection", "_loop _task_group"),
    "WorkerContext": (lambda: WorkerContext(None), "config", "terminated"),
    "H11Protocol": (
        lambda: H11Protocol(None, Config(), WorkerContext(None), *[None] * 6),
        "protocol",
        "app client config connection connection_state context keep_alive_requests send server ssl stream task_group",
    ),
    "HTTPStream": (lambda: HTTPStream(None, Config(), *[None] * 7), "protocol", "state"),
    "Connection": (
        lambda: h11.Connection(h11.SERVER),
        "parser",
        "_cstate _process_error _receive_buffer _request_method client_is_waiting_for_100_continue states their_state",
    ),
    "ConnectionState": (lambda: h11.Connection(h11.SERVER)._cstate, "parser", "keep_alive pending_switch_proposals"),
    "ReceiveBuffer": (lambda: h11.Connection(h11.SERVER)._receive_buffer, "parser", "_data"),
}
"""Attributes of instances: how to make one, the module of `http/` that uses them, and their names."""


def complaint(library, what, user):
    release = platform.python_version() if library == "asyncio" else version(library)
    return (
        f"{NAMES[library]} {release}: {what}; http/{user}.py relies on it. Read what the new version does in"
        f" its place, adapt http/{user}.py, and run tests/edge and tests/hardening before you change the pin."
    )


@pytest.mark.parametrize("internal", INTERNALS, ids=str)
def test_an_internal_is_as_the_edge_uses_it(internal):
    module_name, _, path = internal.place.partition(":")
    try:
        found = importlib.import_module(module_name)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError):
        pytest.fail(complaint(internal.library, f"{internal.place} is gone ({internal.why})", internal.user), False)
    if internal.parameters is not None:
        parameters = [name for name in inspect.signature(found).parameters if name != "args"]
        used = internal.parameters.split()
        if parameters[: len(used)] != used:
            what = f"{internal.place} has the parameters {parameters}, not {used} ({internal.why})"
            pytest.fail(complaint(internal.library, what, internal.user), False)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_instance_has_the_attributes_that_the_edge_uses(name):
    make, user, attributes = ATTRIBUTES[name]
    instance = make()
    library = type(instance).__module__.partition(".")[0]
    for attribute in attributes.split():
        if not hasattr(instance, attribute):
            pytest.fail(complaint(library, f"{name}.{attribute} is gone", user), False)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}:{alias.name}" for alias in node.names)


def test_only_the_package_http_imports_hypercorn_or_h11():
    for path in EDGE.rglob("*.py"):
        if path not in HTTP:
            assert [each for each in imports(path) if each.split(".")[0].split(":")[0] in LIBRARIES] == [], path


def test_every_import_from_the_libraries_is_in_the_list():
    imported = {each for path in HTTP for each in imports(path) if each.split(".")[0].split(":")[0] in LIBRARIES}
    used = {
        f"h11:{node.attr}"
        for path in HTTP
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "h11"
    }
    assert (imported | used) - {"h11"} <= {internal.place for internal in INTERNALS}


def test_every_method_that_the_edge_overrides_is_in_the_list():
    listed = {internal.place.partition(":")[2] for internal in INTERNALS}
    for module in (config, connection, parser, protocol):
        for _, own in inspect.getmembers(module, inspect.isclass):
            if own.__module__ == module.__name__:
                for base in own.__mro__[1:]:
                    if base.__module__.split(".")[0] in LIBRARIES:
                        overridden = {n for n, value in vars(own).items() if n in vars(base) and callable(value)}
                        names = {f"{base.__name__}.{each}" for each in overridden - {"__init__", "__doc__"}}
                        assert names <= listed


def test_every_private_attribute_that_the_edge_uses_is_its_own_or_in_the_list():
    listed = {part for internal in INTERNALS for part in internal.place.partition(":")[2].split(".")}
    listed |= {each for _, _, attributes in ATTRIBUTES.values() for each in attributes.split()}
    used, own = set(), set()
    for path in HTTP:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                (own if isinstance(node.ctx, ast.Store) else used).add(node.attr)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                own.add(node.target.id)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                own.add(node.name)
    assert used - own <= listed
