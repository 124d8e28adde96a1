"""Files of the contract: generated code, and the third-party files."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import grpc_tools
import pytest
from google.protobuf import descriptor_pb2
from google.rpc import status_pb2
from grpc_tools import protoc
from protovalidate._gen.buf.validate import validate_pb
from support.tree import ROOT

from callback.v1 import callback_pb2, callbacks_service_pb2, profiles_service_pb2
from callback_server.contract.validation import violations

EXCERPT = "buf/validate/validate.proto"
RULES = ROOT / "proto" / "callback" / "v1" / "rules.proto"


def run_protoc(*arguments):
    """Run protoc in this process, which starts sooner than another one."""
    include = f"-I{Path(grpc_tools.__file__).with_name('_proto')}"
    assert protoc.main(["protoc", *map(str, arguments), include]) == 0


@pytest.fixture(scope="module")
def excerpt(tmp_path_factory):
    """Return the excerpt of the rules as protoc reads it."""
    image = tmp_path_factory.mktemp("proto") / "file.binpb"
    run_protoc(f"-I{ROOT}/proto/third_party", f"--descriptor_set_out={image}", EXCERPT)
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()).file
    return file


@pytest.fixture(scope="module")
def original():
    """Return the original file from the installed protovalidate."""
    return descriptor_pb2.FileDescriptorProto.FromString(validate_pb._DESC.proto.to_binary())


def facts(file):
    """Return everything that determines the wire format and names: each element with its number, type and location."""
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


def test_the_status_is_the_file_of_googleapis():
    original = Path(status_pb2.__file__).with_name("status.proto")
    assert (ROOT / "proto" / "third_party" / "google" / "rpc" / "status.proto").read_bytes() == original.read_bytes()


def test_every_file_has_the_options_of_every_language():
    for name in sorted((ROOT / "proto" / "callback" / "v1").glob("*.proto")):
        options = dict(re.findall(r'^option (\w+) = "?(.+?)"?;$', name.read_text(), re.MULTILINE))
        outer_class = options.pop("java_outer_classname")
        assert options == {
            "csharp_namespace": "CallbackApi.V1",
            "go_package": "callback/v1;callbackv1",
            "java_multiple_files": "true",
            "java_package": "callback.v1",
            "objc_class_prefix": "CBK",
            "php_namespace": "Callback\\\\V1",
            "ruby_package": "Callback::V1",
        }, name
        assert outer_class.endswith("Proto"), name


def test_each_shared_rule_reaches_the_generated_stubs():
    """Check that the stub of a field contains the rule of rules.proto that the field names."""
    rules = dict(re.findall(r"optional bool (\w+) = \d+ .*?message: \"(.*?)\"", RULES.read_text(), re.DOTALL))
    response = callback_pb2.Response(response_heading="a\nb", response_text="a\tb", response_link_url="//a.example")
    fields = callbacks_service_pb2.GenerateCallbackUrlRequest(
        callback_activity="a\nb",
        state_query_parameter="1",
        verification_profile="A",
        labels={"": "x" * 201},
        allowed_origins=["null"],
        response=response,
    )
    found = {each.rule: each.message for each in violations(fields)}
    found |= {each.rule: each.message for each in violations(callbacks_service_pb2.GetCallRequest())}
    found |= {each.rule: each.message for each in violations(callbacks_service_pb2.GetCallbackRequest())}
    found |= {each.rule: each.message for each in violations(profiles_service_pb2.GetProfileRequest())}
    assert len(rules) == 12
    assert {name: found.get(name) for name in rules} == rules


def test_the_archive_of_the_contract_compiles_alone(monkeypatch, tmp_path):
    """With protoc, and as a module of buf."""
    monkeypatch.syspath_prepend(ROOT)
    archive_contract = importlib.import_module("generators.descriptors").archive_contract
    archive = archive_contract(tmp_path)
    subprocess.run(["tar", "-xf", archive, "-C", tmp_path], check=True)
    module = tmp_path / archive.name.removesuffix(".tar.gz")
    sources = sorted((module / "callback").rglob("*.proto"))
    assert [path.name for path in sources] == sorted(path.name for path in RULES.parent.glob("*.proto"))
    run_protoc(f"-I{module}", f"--descriptor_set_out={tmp_path}/protoc.binpb", *sources)
    without_rules = [path.relative_to(module) for path in sources if path.name != "rules.proto"]
    image = tmp_path / "without_rules.binpb"
    run_protoc(f"--descriptor_set_in={module}/without_rules.binpb", f"--descriptor_set_out={image}", *without_rules)
    assert b"buf/validate" not in image.read_bytes()
    buf = Path(sys.executable).with_name("buf")
    subprocess.run([buf, "build", ".", "-o", f"{tmp_path}/buf.binpb"], cwd=module, check=True)
    subprocess.run([buf, "lint", "."], cwd=module, check=True)
    assert archive.read_bytes() == archive_contract(tmp_path).read_bytes()
