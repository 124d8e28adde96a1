"""The contract's files: generated code, and what is kept of other contracts."""

import importlib.util
import subprocess
import sys

import pytest
from google.protobuf import descriptor_pb2
from google.rpc import status_pb2
from protovalidate._gen.buf.validate import validate_pb
from support.tree import ROOT

EXCERPT = "buf/validate/validate.proto"


def test_what_is_generated_is_what_it_is_made_from(monkeypatch):
    spec = importlib.util.spec_from_file_location("tasks", ROOT / "tasks.py")
    tasks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tasks)
    assert list(tasks.stale_code()) == []


def as_protoc_reads(folder, name):
    """A file of somebody else's contract that we keep, as protoc reads it."""
    image = folder / "file.binpb"
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{ROOT}/proto/third_party",
        f"--descriptor_set_out={image}",
    ]
    subprocess.run([*command, name], check=True)
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()).file
    return file


@pytest.fixture(scope="module")
def excerpt(tmp_path_factory):
    """The excerpt, as protoc reads it."""
    return as_protoc_reads(tmp_path_factory.mktemp("proto"), EXCERPT)


@pytest.fixture(scope="module")
def original():
    """The whole of it, as the installed protovalidate has it."""
    return descriptor_pb2.FileDescriptorProto.FromString(validate_pb._DESC.proto.to_binary())


def facts(file):
    """All that decides about bytes and names: each element with its number, type and place."""
    found = {f"file {file.name}": (file.package, file.syntax)}

    def fields(place, within, oneofs=()):
        for field in within:
            oneof = oneofs[field.oneof_index].name if field.HasField("oneof_index") else None
            found[f"{place}.{field.name}"] = (
                field.number, field.type, field.label, field.type_name, field.extendee, oneof
            )  # fmt: skip

    def enums(place, within):
        for enum in within:
            for value in enum.value:
                found[f"{place}.{enum.name}.{value.name}"] = value.number

    def messages(place, within):
        for message in within:
            name = f"{place}.{message.name}"
            found[name] = "message"
            fields(name, message.field, message.oneof_decl)
            enums(name, message.enum_type)
            messages(name, message.nested_type)

    fields(file.package, file.extension)
    enums(file.package, file.enum_type)
    messages(file.package, file.message_type)
    return found


def test_the_excerpt_of_the_rules_agrees_with_protovalidate_in_every_name_number_and_type(excerpt, original):
    ours, theirs = facts(excerpt), facts(original)
    assert len(ours) > 40
    assert {name: theirs.get(name) for name in ours} == ours


def test_the_status_agrees_with_that_of_googleapis_in_every_name_number_and_type(tmp_path):
    theirs = descriptor_pb2.FileDescriptorProto.FromString(status_pb2.DESCRIPTOR.serialized_pb)
    assert facts(as_protoc_reads(tmp_path, theirs.name)) == facts(theirs)
