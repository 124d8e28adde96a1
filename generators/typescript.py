"""Generate what the TypeScript client has from the contract and from this repository.

1. `src/gen`: messages and services, by protoc-gen-es. The rules (`buf.validate`) are left out: the server checks them.
2. `src/contract`: enums, reasons, values, converters, options, requests and methods (`typescript_modules.py`).
3. The licence, and the version in `package.json` and `package-lock.json`, which are those of `pyproject.toml`.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from generators.contract import Contract
from generators.descriptors import ROOT, VERSION, bare_contract, protoc
from generators.typescript_modules import Modules

PACKAGE = ROOT / "clients" / "typescript"
"""The TypeScript client."""
_GENERATED = PACKAGE / "src" / "gen"
OWNED = ("src/contract/*.ts", "src/gen/**/*.ts")
"""Patterns of files that only this generator writes, in PACKAGE."""
_ERRORS = ("google/rpc/error_details.proto", "google/rpc/status.proto")
"""The details of a refusal. The Python package googleapis-common-protos contains the files."""


def client_files(files: FileDescriptorSet, contract: Contract) -> dict[Path, bytes]:
    """Return the content of each generated file.

    Args:
        files: The contract as descriptors.
        contract: The same, as generators read it.
    """
    install_packages()
    return {
        **_messages(files, contract.client_files),
        **_contract(contract),
        PACKAGE / "LICENSE": (ROOT / "LICENSE").read_bytes(),
        **{PACKAGE / name: _with_version(PACKAGE / name) for name in ("package.json", "package-lock.json")},
    }


def _messages(files: FileDescriptorSet, names: list[str]) -> dict[Path, bytes]:
    """Return the generated code of the messages and services."""
    plugin = PACKAGE / "node_modules" / ".bin" / "protoc-gen-es"
    with tempfile.TemporaryDirectory() as folder:
        made, described = Path(folder, "gen"), Path(folder, "files.binpb")
        made.mkdir()
        options = [f"--plugin={plugin}", f"--es_out={made}", "--es_opt=target=ts,import_extension=js"]
        described.write_bytes(bare_contract(files, names).SerializeToString())
        protoc(*options, f"--descriptor_set_in={described}", *names)
        protoc(*options, f"-I{_folder_of('google.rpc').parent.parent}", *_ERRORS)
        return {_GENERATED / path.relative_to(made): path.read_bytes() for path in made.rglob("*.ts")}


def _folder_of(package: str) -> Path:
    """Return the folder of an installed package."""
    spec = find_spec(package)
    assert spec is not None  # noqa: S101  # for mypy: it is a dependency
    return Path(*spec.submodule_search_locations or ())


def _contract(contract: Contract) -> dict[Path, bytes]:
    """Return the modules that have the contract as the rest of the client uses it, as biome formats them."""
    rules = ["correctness/noUnusedImports", "source/organizeImports", "style/useImportType"]
    biome = [str(PACKAGE / "node_modules" / ".bin" / "biome"), "check", "--write", "--unsafe"]
    place = Path("src", "contract")
    head = b"// Generated from the contract: `python3 tasks.py generate`.\n\n"
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(PACKAGE / "biome.json", folder)
        made = Path(folder, place)
        made.mkdir(parents=True)
        for name, source in Modules(contract).modules(PACKAGE / "src").items():
            (made / f"{name}.ts").write_text(source)
        command = [*biome, *(f"--only={rule}" for rule in rules), str(place)]
        done = subprocess.run(command, check=False, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if done.returncode:  # otherwise it says how many files it has read
            raise RuntimeError(done.stderr.decode())
        return {PACKAGE / place / path.name: head + path.read_bytes() for path in made.iterdir()}


def _with_version(path: Path) -> bytes:
    """Return a file of npm with the version of this repository."""
    name = re.escape('"name": "@callback/client",')
    return re.sub(rf'({name}\s+"version": ")[^"]*', rf"\g<1>{VERSION}", path.read_text()).encode()


def install_packages() -> None:
    """Install the packages of package-lock.json, unless they are installed. Another process that does so is waited for.

    Raises:
        CalledProcessError: The program npm failed.
    """
    lock, installed = PACKAGE / "package-lock.json", PACKAGE / "node_modules" / ".callback-lock.json"
    folder = os.open(PACKAGE, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if not installed.is_file() or installed.read_bytes() != lock.read_bytes():
            npm = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", "--loglevel=error"]
            subprocess.run(npm, check=True, cwd=PACKAGE, stdout=subprocess.DEVNULL)
            shutil.copyfile(lock, installed)
    finally:
        os.close(folder)
