"""What the Python client has from the contract: stubs, enums, values, conversions and methods."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from generators.contract import Contract, statement, wrapped
from generators.descriptors import ROOT, protoc, without_rule_files, write_out_rules
from generators.python_methods import methods_module
from generators.python_values import HEADER, Values
from generators.sync_client import synchronous

PACKAGE = ROOT / "clients" / "python" / "callback"
OWNED = ("v1/*_pb2*.py*",)
"""Patterns of files that only this generator writes, in PACKAGE."""


def client_files(files: FileDescriptorSet, contract: Contract) -> dict[Path, bytes]:
    """Return the content of each generated file.

    Args:
        files: The contract as descriptors.
        contract: The same, as generators read it.
    """
    client = PACKAGE / "client"
    values = Values(contract, set(re.findall(r"class (\w+)Behavior", (PACKAGE / "_behavior.py").read_text())))
    methods = methods_module(values, _errors(contract))
    by_hand = ("transport", "client")
    return {
        **_stubs(files),
        PACKAGE / "_reasons.py": _reasons(contract).encode(),
        PACKAGE / "_enums.py": _formatted(values.enum_module()),
        PACKAGE / "_values.py": _formatted(values.value_module()),
        PACKAGE / "_converters.py": _formatted(values.conversion_module()),
        client / "_async_methods.py": _formatted(methods),
        client / "_sync_methods.py": _formatted(synchronous(methods)),
        **{
            client / f"_sync_{name}.py": _formatted(synchronous((client / f"_async_{name}.py").read_text()))
            for name in by_hand
        },
    }


def _errors(contract: Contract) -> dict[str, str]:
    """Return the name of the class of errors of each reason: its own, that of its gRPC code, or that of all errors."""
    classes = dict(re.findall(r"(?:ErrorReason|StatusCode)\.(\w+): (\w+),", (PACKAGE / "_errors.py").read_text()))
    return {
        each.word: classes.get(each.word) or classes.get(each.grpc_code, "CallbackError") for each in contract.reasons
    }


def _formatted(source: str) -> bytes:
    """Return a module as ruff formats it, with sorted imports."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "made.py")
        made.write_text(source)
        ruff = [sys.executable, "-m", "ruff"]
        settings = ["--config", str(ROOT / "pyproject.toml"), "--quiet"]
        fixed = ["--select", "F401,I,UP028", "--fix", "--unsafe-fixes"]
        subprocess.run([*ruff, "check", *settings, *fixed, str(made)], check=True)
        subprocess.run([*ruff, "format", *settings, str(made)], check=True)
        return made.read_bytes()


def _reasons(contract: Contract) -> str:
    """Return the module of the enum of error reasons."""
    lines = [
        f'"""Every reason for a refusal. {HEADER}"""\n',
        "from enum import StrEnum\n\n",
        "class ErrorReason(StrEnum):",
        '    """Every reason for a refusal, with the gRPC status that it comes with."""\n',
    ]
    for reason in contract.reasons:
        what = statement(reason.comment, reason.name).replace("Metadata:", "Facts:")
        lines.append(f'    {reason.word} = "{reason.word}"')
        lines += wrapped(f'"""{what} ({reason.grpc_code})"""', "    ")
    return "\n".join(lines) + "\n"


def _stubs(files: FileDescriptorSet) -> dict[Path, bytes]:
    """Return the stubs of `callback.v1`.

    The rules (`buf.validate`) stay in the descriptors as options, and the imports of the files that define them are
    dropped. So clients need protobuf alone, and the server, which has protovalidate, still finds the rules. Only files
    with a service get gRPC stubs.
    """
    with_rules = FileDescriptorSet()
    with_rules.CopyFrom(files)
    write_out_rules(with_rules)
    kept = without_rule_files(with_rules)
    messages = [file.name for file in kept if file.name.startswith("callback/")]
    services = [file.name for file in kept if file.service]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        described = made / "ours.binpb"
        described.write_bytes(FileDescriptorSet(file=kept).SerializeToString())
        plugins = [
            f"--plugin={Path(sys.executable).with_name(name)}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
        ]
        given = [*plugins, f"--descriptor_set_in={described}"]
        protoc(*given, f"--python_out={made}", f"--mypy_out=quiet:{made}", *messages)
        protoc(*given, f"--grpc_python_out={made}", f"--mypy_grpc_out=quiet:{made}", *services)
        return {PACKAGE / "v1" / path.name: path.read_bytes() for path in (made / "callback" / "v1").iterdir()}
