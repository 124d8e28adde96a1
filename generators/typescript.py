"""Generate what the TypeScript client has from the contract and from this repository.

1. `src/gen`: messages and services, by protoc-gen-es. The rules (`buf.validate`) are left out: the server checks them.
2. `src/reasons.ts`: the reasons for refusals, with the comments of the contract.
3. The licence, and the version in `package.json` and `package-lock.json`, which are those of `pyproject.toml`.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib.util import find_spec
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "clients" / "typescript"
"""The TypeScript client."""
_GENERATED = PACKAGE / "src" / "gen"
_CONTRACT = (
    "callback/v1/callback.proto",
    "callback/v1/callback_handler_service.proto",
    "callback/v1/callbacks_service.proto",
    "callback/v1/worker_service.proto",
)
"""The files of the contract that a client uses."""
_ERRORS = ("google/rpc/error_details.proto", "google/rpc/status.proto")
"""The details of a refusal. The Python package googleapis-common-protos contains the files."""


def stale_typescript(contract: FileDescriptorSet) -> dict[Path, bytes | None]:
    """Return the new content of each generated file that is out of date; None for a file that must be deleted.

    Args:
        contract: The files of the contract with their comments, and the files that they import.
    """
    reasons = next(file for file in contract.file if file.name.endswith("/error_reason.proto"))
    fresh = {
        **_messages(contract),
        PACKAGE / "src" / "reasons.ts": _reasons(reasons).encode(),
        PACKAGE / "LICENSE": (ROOT / "LICENSE").read_bytes(),
        **{PACKAGE / name: _with_version(PACKAGE / name) for name in ("package.json", "package-lock.json")},
    }
    present = {path: path.read_bytes() for path in (*_GENERATED.rglob("*.ts"), *fresh) if path.is_file()}
    return {path: fresh.get(path) for path in sorted(fresh | present) if fresh.get(path) != present.get(path)}


def _messages(contract: FileDescriptorSet) -> dict[Path, bytes]:
    """Return the generated code of the messages and services."""
    plugin = PACKAGE / "node_modules" / ".bin" / "protoc-gen-es"
    with tempfile.TemporaryDirectory() as folder:
        made, described = Path(folder, "gen"), Path(folder, "files.binpb")
        made.mkdir()
        protoc = [sys.executable, "-m", "grpc_tools.protoc", f"--plugin={plugin}", f"--es_out={made}"]
        protoc += ["--es_opt=target=ts,import_extension=js"]
        described.write_bytes(_without_rules(contract).SerializeToString())
        subprocess.run([*protoc, f"--descriptor_set_in={described}", *_CONTRACT], check=True)
        include = [f"-I{_folder_of('google.rpc').parent.parent}", f"-I{_folder_of('grpc_tools') / '_proto'}"]
        subprocess.run([*protoc, *include, *_ERRORS], check=True)
        return {_GENERATED / path.relative_to(made): path.read_bytes() for path in made.rglob("*.ts")}


def _folder_of(package: str) -> Path:
    """Return the folder of an installed package."""
    spec = find_spec(package)
    assert spec is not None  # noqa: S101  # for mypy: both are dependencies
    return Path(*spec.submodule_search_locations or ())


def _without_rules(contract: FileDescriptorSet) -> FileDescriptorSet:
    """Return the files without the rules of their fields, and without the files that define the rules."""
    files = FileDescriptorSet()
    files.CopyFrom(contract)
    rules = {file.name for file in files.file if file.name.startswith("buf/") or file.name.endswith("/rules.proto")}
    kept = [file for file in files.file if file.name not in rules]
    for file in kept:
        file.dependency[:] = [name for name in file.dependency if name not in rules]
        file.ClearField("options")  # names of packages in other languages
        for message in file.message_type:
            for part in (*message.field, *message.oneof_decl):
                part.ClearField("options")
    return FileDescriptorSet(file=kept)


def _reasons(contract: FileDescriptorProto) -> str:
    """Return the module of the error reasons, each with the comment of the contract."""
    (enum,) = contract.enum_type
    comments = {tuple(place.path): place.leading_comments for place in contract.source_code_info.location}
    lines = [
        "// Generated from the contract: `python3 tasks.py generate`.",
        "",
        "/** Every reason for a refusal, with the gRPC status that it comes with. */",
        "export const ErrorReason = {",
    ]
    for index, value in enumerate(enum.value):
        if value.number != 0:
            word = value.name.removeprefix("ERROR_REASON_")
            # 5 is the place of a file's enums, 2 that of an enum's values.
            comment = " ".join(comments[(5, 0, 2, index)].split()).removeprefix(value.name)
            code, what = comment.removeprefix(" (").replace("Metadata:", "Facts:").split("): ", 1)
            lines += [f"  /** {what[0].upper()}{what[1:]} ({code}) */", f'  {word}: "{word}",']
    lines += ["} as const;", "", "export type ErrorReason = (typeof ErrorReason)[keyof typeof ErrorReason];", ""]
    return "\n".join(lines)


def _with_version(path: Path) -> bytes:
    """Return a file of npm with the version of this repository."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    name = re.escape('"name": "@callback/client",')
    return re.sub(rf'({name}\s+"version": ")[^"]*', rf"\g<1>{version}", path.read_text()).encode()


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
