"""Server reflection, in both versions: the whole contract, with its comments."""

import re

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2 as pb
from support.services import running_services
from support.tree import ROOT

SERVICES = {
    "callback.v1.AuditService", "callback.v1.CallbacksService", "callback.v1.EdgeService",
    "callback.v1.OperationsService", "callback.v1.ProfilesService", "callback.v1.WorkerService",
    "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
}  # fmt: skip


@pytest.fixture(scope="module", params=["v1", "v1alpha"])
async def reflect(request, store_of):
    """Return the reply to a request. The stub is one of gRPC without generated code, as of any client."""
    async with running_services(store_of()) as services:
        method = services.channel.stream_stream(
            f"/grpc.reflection.{request.param}.ServerReflection/ServerReflectionInfo",
            request_serializer=pb.ServerReflectionRequest.SerializeToString,
            response_deserializer=pb.ServerReflectionResponse.FromString,
        )

        async def ask(**asked):
            (reply,) = [each async for each in method(iter([pb.ServerReflectionRequest(**asked)]))]
            return reply

        yield ask


def files_of(reply):
    """Return the files of a reply by their names."""
    files = map(FileDescriptorProto.FromString, reply.file_descriptor_response.file_descriptor_proto)
    return {file.name: file for file in files}


def pool_of(files):
    """Return a pool of files and of nothing else: a file that is missing would be an error."""
    pool, added = DescriptorPool(), set()

    def add(name):
        if name not in added:
            added.add(name)
            for needed in files[name].dependency:
                add(needed)
            pool.Add(files[name])

    for name in files:
        add(name)
    return pool


async def test_it_names_each_service_and_describes_it_completely(reflect):
    names = {each.name for each in (await reflect(list_services="")).list_services_response.service}
    assert names == SERVICES
    for name in SERVICES:
        pool = pool_of(files_of(await reflect(file_containing_symbol=name)))
        assert pool.FindServiceByName(name).methods


async def test_each_element_of_the_contract_has_its_comment(reflect):
    for path in sorted((ROOT / "proto" / "callback" / "v1").glob("*.proto")):
        name = f"callback/v1/{path.name}"
        file = files_of(await reflect(file_by_filename=name))[name]
        said = "".join(
            comment
            for place in file.source_code_info.location
            for comment in (*place.leading_detached_comments, place.leading_comments)
        )
        written = re.findall("^ *//(.*)$", path.read_text(), re.MULTILINE)
        assert [line for line in written if line not in said] == []
        assert said


async def test_the_rules_of_fields_are_found_as_an_extension(reflect):
    reply = await reflect(
        file_containing_extension=pb.ExtensionRequest(
            containing_type="google.protobuf.FieldOptions", extension_number=1159
        )
    )
    assert "buf/validate/validate.proto" in files_of(reply)


@pytest.mark.parametrize("symbol", ["WorkerService.Work", "Hello", "ErrorReason"])
async def test_each_kind_of_symbol_is_found(reflect, symbol):
    reply = await reflect(file_containing_symbol=f"callback.v1.{symbol}")
    assert reply.file_descriptor_response.file_descriptor_proto


async def test_what_the_contract_does_not_have_is_not_found(reflect):
    assert (await reflect(file_containing_symbol="callback.v1.Nothing")).error_response.error_code == 5
    assert (await reflect(file_by_filename="callback/v1/nothing.proto")).error_response.error_code == 5


async def test_it_describes_the_details_of_errors(reflect):
    for asked in (
        {"file_by_filename": "google/rpc/error_details.proto"},
        {"file_containing_symbol": "google.rpc.ErrorInfo"},
    ):
        files = files_of(await reflect(**asked))
        assert {"BadRequest", "ErrorInfo", "RetryInfo"} <= {
            each.name for each in files["google/rpc/error_details.proto"].message_type
        }
        assert pool_of(files).FindMessageTypeByName("google.rpc.RetryInfo")
