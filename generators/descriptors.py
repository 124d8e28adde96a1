"""The descriptors of the contract: with its rules, for the stubs of each language, and as an archive."""

import gzip
import io
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet, SourceCodeInfo

from generators.contract import OPTIONS

ROOT = Path(__file__).resolve().parent.parent
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["callback"]["release"]
"""The version of this repository, and so of each client."""


def contract_files() -> FileDescriptorSet:
    """Return the files of the contract with their comments, and the files that they import."""
    contract = ROOT / "proto"
    sources = sorted(path.relative_to(contract) for path in (contract / "callback" / "v1").glob("*.proto"))
    include = [f"-I{contract}", f"-I{contract / 'third_party'}", "--include_imports", "--include_source_info"]
    with tempfile.NamedTemporaryFile() as made:
        protoc(*include, f"--descriptor_set_out={made.name}", *map(str, sources))
        return FileDescriptorSet.FromString(Path(made.name).read_bytes())


def protoc(*arguments: str) -> None:
    """Run the protoc of grpcio-tools.

    Raises:
        CalledProcessError: It failed.
    """
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True)


BUF_MODULE = """\
version: v2
modules:
  - path: .
lint:
  use: [STANDARD, COMMENTS]
  ignore: [buf, google]
breaking:
  use: [WIRE_JSON]
  ignore: [buf, google]
"""
"""The buf.yaml of the archive of the contract: one module, with the files of other projects that it imports."""


def archive_contract(folder: Path) -> Path:
    """Write the contract with everything that it imports as a tar file into a folder, and return its path.

    It is a buf module, and the include path of protoc: `protoc -I DIR callback/v1/*.proto`. Its file
    `without_rules.binpb` is the same contract for languages that cannot import the rules.
    """
    name = f"callback-proto-{VERSION}"
    contract = ROOT / "proto"
    files = {
        "buf.yaml": BUF_MODULE.encode(),
        "README.md": (contract / "BUILDING.md").read_bytes(),
        "LICENSE": (ROOT / "LICENSE").read_bytes(),
        "without_rules.binpb": contract_without_rules().SerializeToString(deterministic=True),
    }
    for root in (contract / "callback", contract / "third_party" / "buf", contract / "third_party" / "google"):
        files |= {str(path.relative_to(root.parent)): path.read_bytes() for path in root.rglob("*.proto")}
    archive = folder / f"{name}.tar.gz"
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path, content in sorted(files.items()):
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return archive


def contract_without_rules() -> FileDescriptorSet:
    """Return the contract without the rules of its fields and without the files that define rules.

    Those files extend messages of another project, which the generator for PHP refuses.
    """
    files = without_rule_files(contract_files())
    pool = descriptor_pool.DescriptorPool()  # it knows our options, so each rule is an unknown field
    pool.AddSerializedFile(descriptor_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(next(file for file in files if file.name == OPTIONS))
    message_factory.GetMessageClassesForFiles([OPTIONS], pool)
    set_class = message_factory.GetMessageClass(pool.FindMessageTypeByName("google.protobuf.FileDescriptorSet"))
    without = set_class.FromString(FileDescriptorSet(file=files).SerializeToString())
    without.DiscardUnknownFields()
    return FileDescriptorSet.FromString(without.SerializeToString(deterministic=True))


def bare_contract(files: FileDescriptorSet, kept: Iterable[str], go_package: str = "") -> FileDescriptorSet:
    """Return some files without rules, options and comments, with the files of Google that they import.

    Args:
        files: The contract.
        kept: The names of the files.
        go_package: The option of this name that they get.
    """
    names = {*kept}
    bare = FileDescriptorSet()
    bare.CopyFrom(FileDescriptorSet(file=[each for each in files.file if each.name in names or _is_google(each.name)]))
    for file in bare.file:
        file.ClearField("source_code_info")
        if file.name in names:
            file.dependency[:] = [name for name in file.dependency if name in names or _is_google(name)]
            file.options.Clear()
            if go_package:
                file.options.go_package = go_package
            for message in file.message_type:
                message.ClearField("options")
                for part in (*message.field, *message.oneof_decl):
                    part.ClearField("options")
    return bare


def _is_google(name: str) -> bool:
    return name.startswith("google/")


def without_rule_files(files: FileDescriptorSet) -> list[FileDescriptorProto]:
    """Return the files that define no rules, without their imports of the others."""
    rules = {file.name for file in files.file if file.name.startswith("buf/")} | {RULES}
    kept = [file for file in files.file if file.name not in rules]
    for file in kept:
        file.dependency[:] = [name for name in file.dependency if name not in rules]
    return kept


RULES = "callback/v1/rules.proto"
"""The file with the rules that several fields of the contract name (protovalidate calls them predefined rules)."""


def write_out_rules(files: FileDescriptorSet) -> None:
    """Replace the name of a rule of RULES, in the options of each field, by the rule itself.

    protovalidate finds a named rule in the file that defines it. The stubs cannot import that file: it extends a
    message of `buf.validate`, which clients do not have. So the contract defines each rule once, and the stubs contain
    a copy in each field.
    """
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    options_class = message_factory.GetMessageClass(pool.FindMessageTypeByName("google.protobuf.FieldOptions"))
    field_rules: Any = pool.FindExtensionByName("buf.validate.field")
    predefined: Any = pool.FindExtensionByName("buf.validate.predefined")

    def write_out(rules: Any) -> None:
        named = [extension for extension, _ in rules.string.ListFields() if extension.is_extension]
        for extension in named:
            options = options_class.FromString(extension.GetOptions().SerializeToString())
            rules.cel.extend(options.Extensions[predefined].cel)
            rules.string.ClearExtension(extension)
        if named and not rules.string.ListFields():
            rules.ClearField("string")
        for inner in (rules.repeated, rules.map):
            for name in ("items", "keys", "values"):
                if name in inner.DESCRIPTOR.fields_by_name and inner.HasField(name):
                    write_out(getattr(inner, name))

    for field in (field for file in files.file for message in file.message_type for field in message.field):
        options: Any = options_class.FromString(field.options.SerializeToString())
        if options.HasExtension(field_rules):
            write_out(options.Extensions[field_rules])
            field.options.ParseFromString(options.SerializeToString(deterministic=True))


def reflected_contract(files: FileDescriptorSet) -> bytes:
    """Return the compiled contract that server reflection returns.

    It has the comments of the contract, without positions in files that have none, and not those of other projects.
    """
    reflected = FileDescriptorSet()
    reflected.CopyFrom(files)
    for file in reflected.file:
        places = file.source_code_info.location if file.name.startswith("callback/") else []
        commented = [place for place in places if place.leading_comments or place.trailing_comments]
        file.source_code_info.CopyFrom(SourceCodeInfo(location=commented))
    return reflected.SerializeToString(deterministic=True)
