"""What the Python client has from the contract: stubs, enums, values, conversions and methods."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from generators.contract import FACT_TYPES, Contract, refusal
from generators.descriptors import ROOT, protoc, without_rule_files, write_out_rules
from generators.python_methods import methods_module
from generators.python_values import HEADER, Values, docstring
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
    methods = methods_module(values)
    by_hand = ("transport", "client")
    modules = {
        PACKAGE / "_reasons.py": _reasons(values),
        PACKAGE / "_reason_errors.py": _errors(values),
        PACKAGE / "_enums.py": values.enum_module(),
        PACKAGE / "_values.py": values.value_module(),
        PACKAGE / "_converters.py": values.conversion_module(),
        client / "_async_methods.py": methods,
        client / "_sync_methods.py": synchronous(methods),
        **{client / f"_sync_{name}.py": synchronous((client / f"_async_{name}.py").read_text()) for name in by_hand},
    }
    return {**_stubs(files), **formatted(modules)}


def formatted(modules: Mapping[Path, str]) -> dict[Path, bytes]:
    """Return modules, whose names differ, as ruff formats them, with sorted imports."""
    with tempfile.TemporaryDirectory() as folder:
        for path, source in modules.items():
            Path(folder, path.name).write_text(source)
        ruff = [sys.executable, "-m", "ruff"]
        settings = ["--config", str(ROOT / "pyproject.toml"), "--quiet"]
        fixed = ["--select", "F401,I,UP028", "--fix", "--unsafe-fixes"]
        subprocess.run([*ruff, "check", *settings, *fixed, folder], check=True)
        subprocess.run([*ruff, "format", *settings, folder], check=True)
        return {path: Path(folder, path.name).read_bytes() for path in modules}


def _reasons(values: Values) -> str:
    """Return the module of the enum of error reasons."""
    lines = [
        f'"""Every reason for a refusal. {HEADER}"""\n',
        "from enum import StrEnum\n\n",
        "class ErrorReason(StrEnum):",
        '    """Every reason for a refusal, with the gRPC status that it comes with."""\n',
    ]
    for reason in values.contract.reasons:
        lines.append(f'    {reason.word} = "{reason.word}"')
        lines += docstring(f"{refusal(reason, values.names)} ({reason.grpc_code})", "    ", summary=False)
    return "\n".join(lines) + "\n"


def _errors(values: Values) -> str:
    """Return the module of the classes of errors for one reason."""
    own = values.contract.own_errors
    lines = [
        f'"""The exceptions for one reason of a refusal. {HEADER}"""\n',
        "from collections.abc import Mapping\n",
        f"from callback._enums import {', '.join(sorted({*FACT_TYPES.values()} - {'int'}))}",
        "from callback._errors import CallbackError",
        "from callback._reasons import ErrorReason\n",
        f"__all__ = [{', '.join(map(repr, sorted(own)))}]\n",
    ]
    for name, reason in own.items():
        lines += [f"\nclass {name}(CallbackError):", *docstring(refusal(reason, values.names), "    ")]
        for fact in reason.facts:
            kind = FACT_TYPES.get(fact, "str")
            made = {"str": f'self.facts.get("{fact}", "")', "int": f'self._count("{fact}")'}
            lines += ["\n    @property", f"    def {fact}(self) -> {'int | None' if kind == 'int' else kind}:"]
            lines += [f'        """The fact `{fact}`."""']
            lines.append(f"        return {made.get(kind) or f'self._word({kind}, {fact!r})'}")
        lines.append("")
    table = [f"    ErrorReason.{reason.word}: {name}," for name, reason in own.items()]
    lines += ["\nBY_REASON: Mapping[str, type[CallbackError]] = {", *table, "}", '"""The class for each reason."""']
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
