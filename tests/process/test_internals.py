"""Internals of Hypercorn, h11 and asyncio that `callback_process.http` relies on.

The libraries may change these without notice. Each test says in plain words what is gone and which module used it. An
import that is gone says so by itself. The last tests keep the lists complete.
"""

import ast
import asyncio
import inspect
import pkgutil
import platform
from importlib.metadata import version
from operator import attrgetter
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

from callback_process.http import config, connection, parser, protocol

HTTP = sorted((PACKAGES["callback_process"] / "http").glob("*.py"))
OTHERS = ("callback_edge", "callback_console", "callback_api")
LIBRARIES = ("hypercorn", "h11")
NAMES = {"hypercorn": "Hypercorn", "h11": "h11", "asyncio": "asyncio of Python"}

OVERRIDDEN = {
    "config:HttpConfig": "accesslog errorlog h11_max_incomplete_size include_server_header max_app_queue_size"
    " response_headers",
    "connection:_AppTasks": "spawn_app",
    "connection:Connection": "run protocol_send _read_data _close",
    "protocol:StrictHttpProtocol": "stream_send _check_protocol _create_stream _close_stream _send_error_response",
    "parser:StrictConnection": "receive_data next_event start_next_cycle they_are_waiting_for_100_continue",
    "parser:_StrictBuffer": "maybe_extract_lines maybe_extract_next_line",
}
"""What each class of `http/` overrides in a class of a library, by its module and name."""
CALLED = {
    "hypercorn.asyncio.tcp_server:TCPServer": "app loop config context state reader writer",
    "hypercorn.asyncio.task_group:TaskGroup": "loop",
    "hypercorn.asyncio.task_group:TaskGroup.spawn": "self func",
    "hypercorn.asyncio.task_group:TaskGroup.__aenter__": "self",
    "hypercorn.asyncio.task_group:TaskGroup.__aexit__": "self exc_type exc_value tb",
    "hypercorn.asyncio.worker_context:WorkerContext": "max_requests",
    "hypercorn.config:Config": "",
    "hypercorn.events:Closed": "",
    "hypercorn.events:RawData": "data address",
    "hypercorn.events:Updated": "idle",
    "hypercorn.protocol.events:Request": "stream_id headers http_version method raw_path state",
    "hypercorn.protocol.events:Response": "stream_id headers status_code",
    "hypercorn.protocol.h11:H11Protocol": "app config context task_group connection_state ssl client server send",
    "hypercorn.protocol.h11:H11Protocol.handle": "self event",
    "hypercorn.protocol.http_stream:HTTPStream": "app config context task_group ssl client server send stream_id",
    "hypercorn.protocol.http_stream:HTTPStream.handle": "self event",
    "hypercorn.utils:parse_socket_addr": "family address",
    "h11:Connection": "our_role max_incomplete_event_size",
    "h11:Connection.send": "self event",
    "h11:Connection._respond_to_state_changes": "self old_states event",
    "h11:RemoteProtocolError": "msg error_status_hint",
    "h11._connection:ConnectionState.process_event": "self role event_type server_switch_event",
    "h11._connection:ConnectionState.process_keep_alive_disabled": "self",
    "h11._headers:normalize_and_validate": "headers _parsed",
    "h11._headers:Headers.raw_items": "self",
    "h11._receivebuffer:ReceiveBuffer": "",
}
"""What `http/` calls, as `module:Class.method`, with the parameters that it relies on, in their order."""
INSTANCES = {
    "TCPServer": (lambda: TCPServer(*[None] * 7), "app config context loop reader writer send_lock state"),
    "StreamReader": (
        lambda: asyncio.StreamReader(loop=SimpleNamespace(get_debug=bool)),
        "_buffer _maybe_resume_transport",
    ),
    "TaskGroup": (lambda: TaskGroup(None), "_loop _task_group"),
    "WorkerContext": (lambda: WorkerContext(None), "terminated"),
    "Config": (Config, "keep_alive_max_requests"),
    "H11Protocol": (
        lambda: H11Protocol(None, Config(), WorkerContext(None), *[None] * 6),
        "app client config connection connection_state context keep_alive_requests send server ssl stream task_group",
    ),
    "HTTPStream": (lambda: HTTPStream(None, Config(), *[None] * 7), "state"),
    "Connection": (
        lambda: h11.Connection(h11.SERVER),
        "_cstate _process_error _receive_buffer _request_method client_is_waiting_for_100_continue states their_state",
    ),
    "ConnectionState": (
        lambda: attrgetter("_cstate")(h11.Connection(h11.SERVER)),
        "keep_alive pending_switch_proposals",
    ),
    "ReceiveBuffer": (lambda: attrgetter("_receive_buffer")(h11.Connection(h11.SERVER)), "_data"),
}
"""Attributes of instances that `http/` uses: how to make one, and their names."""


def fail(library, what):
    release = platform.python_version() if library == "asyncio" else version(library)
    said = (
        f"{NAMES[library]} {release}: {what}; server/callback_process/http relies on it. Read what the new version"
        " does in its place, adapt http/, and run tests/edge and tests/hardening before you change the pin."
    )
    pytest.fail(said, pytrace=False)


def library_of(module):
    return module.partition(".")[0].partition(":")[0]


def parameters_of(function):
    return [name for name in inspect.signature(function).parameters if name != "args"]


def library_bases(own):
    return [base for base in own.__mro__[1:] if library_of(base.__module__) in LIBRARIES]


@pytest.mark.parametrize("place", OVERRIDDEN)
def test_what_the_edge_overrides_is_there_and_takes_the_same_parameters(place):
    own = pkgutil.resolve_name(f"callback_process.http.{place}")
    for name in OVERRIDDEN[place].split():
        found = [vars(base)[name] for base in library_bases(own) if name in vars(base)]
        library = library_of(library_bases(own)[0].__module__)
        if not found:
            fail(library, f"{name} is gone, which {place} overrides")
        if inspect.isfunction(found[0]) and parameters_of(found[0]) != parameters_of(vars(own)[name]):
            fail(library, f"{name}, which {place} overrides, has the parameters {parameters_of(found[0])}")


@pytest.mark.parametrize("place", CALLED)
def test_what_the_edge_calls_takes_the_parameters_that_it_gives(place):
    library, used = library_of(place), CALLED[place].split()
    try:
        parameters = parameters_of(pkgutil.resolve_name(place))
    except (ImportError, AttributeError):
        fail(library, f"{place} is gone")
    if parameters[: len(used)] != used:
        fail(library, f"{place} has the parameters {parameters}, not {used}")


@pytest.mark.parametrize("name", INSTANCES)
def test_an_instance_has_the_attributes_that_the_edge_uses(name):
    make, attributes = INSTANCES[name]
    instance = make()
    for attribute in attributes.split():
        if not hasattr(instance, attribute):
            fail(library_of(type(instance).__module__), f"{name}.{attribute} is gone")


@pytest.mark.parametrize("path", HTTP, ids=lambda path: path.stem)
def test_every_name_that_the_edge_uses_in_h11_is_there(path):
    for node in ast.walk(ast.parse(path.read_text())):
        is_name = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "h11"
        if is_name and not hasattr(h11, node.attr):
            fail("h11", f"h11.{node.attr} is gone")


def test_only_the_package_http_imports_hypercorn_or_h11():
    for path in (path for package in OTHERS for path in PACKAGES[package].rglob("*.py")):
        if path not in HTTP:
            for node in ast.walk(ast.parse(path.read_text())):
                names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) else []
                assert not {*map(library_of, names)} & {*LIBRARIES}, path


def test_every_method_that_the_edge_overrides_is_in_the_list():
    for module in (config, connection, parser, protocol):
        for name, own in inspect.getmembers(module, inspect.isclass):
            if own.__module__ == module.__name__ and library_bases(own):
                theirs = {
                    each for base in library_bases(own) for each in vars(base) if not each.startswith(("__", "_abc_"))
                }
                listed = OVERRIDDEN.get(f"{module.__name__.rpartition('.')[2]}:{name}", "").split()
                assert theirs & {*vars(own)} == {*listed}, name


def test_every_private_attribute_that_the_edge_uses_is_its_own_or_in_the_list():
    listed = {each for attributes in OVERRIDDEN.values() for each in attributes.split()}
    listed |= {each for _, attributes in INSTANCES.values() for each in attributes.split()}
    listed |= {part for place in CALLED for part in place.partition(":")[2].split(".")}
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
