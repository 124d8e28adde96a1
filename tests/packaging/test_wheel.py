"""The built distribution: its content, and its use without the source tree."""

import email
import hashlib
import json
import re
import runpy
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from soak.counts import SOAK, count
from support.conformance import failures
from support.installed import VERSION, build_wheel
from support.tree import PACKAGES, ROOT

import callback
from callback_conform.program import launch_command
from callback_conform.scenarios import load


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build a wheel of this tree, and return its path."""
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def names(wheel):
    return zipfile.ZipFile(wheel).namelist()


def test_its_version_is_that_of_its_content(wheel, tmp_path):
    version = runpy.run_path(str(ROOT / "clients" / "python" / "build_version.py"))["version"]
    assert wheel.name == f"callback-{version()}-py3-none-any.whl"
    assert version().startswith(f"{VERSION}+")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "module.py").write_text("one")
    settings = {"packages": ["package"], "force-include": {"README.md": "package/README.md"}}
    made = [f"{name} = {json.dumps(value).replace(':', ' =')}" for name, value in settings.items()]
    (tmp_path / "pyproject.toml").write_text(
        "\n".join(["[tool.callback]", 'release = "1.0"', "[tool.hatch.build.targets.wheel]", *made])
    )
    (tmp_path / "README.md").write_text("one")
    versions = [version(tmp_path), version(tmp_path)]
    for changed in (tmp_path / "README.md", tmp_path / "package" / "module.py", tmp_path / "package" / "other.py"):
        changed.write_text("two")
        versions.append(version(tmp_path))
    assert versions[0] == versions[1]
    assert len({*versions}) == 4


def test_the_package_says_its_version():
    assert callback.__version__ == metadata.version("callback")
    with pytest.raises(AttributeError, match="has no attribute 'version'"):
        _ = callback.version


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
    expected.add("callback_conform/README.md")
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
    fields = email.message_from_bytes(files["METADATA"])
    assert (fields["License-Expression"], fields["Requires-Python"]) == ("Apache-2.0", ">=3.11")
    assert fields.get_all("Provides-Extra") == ["cli", "client-names", "otel", "server", "up"]


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


LOCKS = {"oldest": "oldest.lock", "newest": "up.lock"}
"""Versions of the dependencies: the oldest that pyproject.toml allows, and those of everything else in this run."""


@pytest.fixture(scope="module", params=LOCKS if SOAK else ["oldest"])
def installed(request, wheel, tmp_path_factory):
    """Install the wheel as a library, without extras, into an empty environment. Return its Python."""
    folder = tmp_path_factory.mktemp(request.param)
    needed = re.findall(r"^[\w-]+(?===)", (ROOT / "requirements/oldest.lock").read_text(), re.MULTILINE)
    entries = re.split(r"\n(?=\w)", (ROOT / "requirements" / LOCKS[request.param]).read_text())
    chosen = [entry for entry in entries if entry.partition("==")[0] in needed]
    assert len(chosen) == len(needed)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    listed = folder / "requirements.txt"
    listed.write_text("\n".join([*chosen, f"callback @ {wheel.as_uri()} --hash=sha256:{digest}"]))
    venv.create(folder / "env", symlinks=True)
    python = folder / "env/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(listed)], check=True)
    return python


def output_of(python, program):
    """Run a program in an environment, and return its standard output."""
    done = subprocess.run([python, "-P", "-c", program], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_library_has_no_command_line_and_needs_what_its_metadata_says(installed):
    program = """
import sys
from importlib.metadata import distributions, requires
import callback, callback.testing, callback.masking, callback.v1.callbacks_service_pb2_grpc
assert not {"click", "rich"} & set(sys.modules)
base = [each for each in requires("callback") if "extra" not in each]
print(*sorted(each.metadata["Name"] for each in distributions()))
print(*sorted(re.split(r"\\W", each.replace("-", "_"))[0].replace("_", "-") for each in base))
"""
    present, base = output_of(installed, f"import re{program}").splitlines()
    assert set(present.split()) == {*base.split(), "callback", "typing_extensions"}
    grpc = ["googleapis-common-protos", "grpcio", "grpcio-health-checking", "grpcio-status", "protobuf"]
    assert base.split() == [*grpc, "python-multipart"]


def test_the_command_line_of_a_library_says_how_to_install_it(installed):
    done = subprocess.run([installed.with_name("callback")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == "Error: the command line requires click: install Callback with its extra [cli], see docs/install.md\n"
    )


SHORT = {
    "worker": (
        "a call is offered, accepted, confirmed and answered",
        "a notification is handled by the function for notifications",
        "values of headers hold every byte from 0x80 to 0xFF",
    ),
    "client": (
        "a request is sent with its fields and token, and its answer is returned",
        "each wrong field is named",
        "a watch that is lost goes on after its last event, without gap or double",
    ),
}
"""By kind: the scenarios outside of a soak, which runs all."""


@pytest.mark.parametrize("kind", SHORT)
async def test_an_installed_library_passes_the_scenarios_also_with_the_oldest_dependencies(installed, kind, tmp_path):
    chosen = [each for each in load(kind) if each.name in count(SHORT[kind], {one.name for one in load(kind)})]
    program = ROOT / f"clients/conformance/python/{kind}.py"
    launch = launch_command([str(installed), "-P", str(program)], Path(tmp_path, "errors"))
    assert chosen
    assert await failures(launch, chosen, kind) == []


def test_the_stubs_are_of_the_oldest_versions_and_are_tried_with_protobuf_6_and_7():
    """The installed library has protobuf 6, and everything else in this run has protobuf 7."""
    oldest = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements/oldest.lock").read_text(), re.MULTILINE))
    stubs = PACKAGES["callback"] / "v1"
    assert f"# Protobuf Python Version: {oldest['protobuf']}\n" in (stubs / "callback_pb2.py").read_text()
    grpc_stubs = (stubs / "callbacks_service_pb2_grpc.py").read_text()
    assert f"GRPC_GENERATED_VERSION = '{oldest['grpcio']}'\n" in grpc_stubs
    assert (oldest["protobuf"].split(".")[0], metadata.version("protobuf").split(".")[0]) == ("6", "7")
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {f"protobuf>={oldest['protobuf']},<8", f"grpcio>={oldest['grpcio']},<2"} <= set(declared)
