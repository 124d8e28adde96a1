"""Server reflection: the contract with its comments.

The servicer of grpcio reads a pool of descriptors, and the pools of protobuf for Python keep no comments. So it gets
the files of the contract as they were compiled, from contract.binpb beside this module.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from importlib import resources
from types import ModuleType
from typing import Any, Final, cast

import grpc
from google.protobuf import text_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from callback_server.errors import InvalidRequestError
from callback_server.rpc.grpc_aio.method_router import MethodRouter
from callback_server.rpc.malformed import Messages
from callback_server.rpc.method import refuse
from callback_server.rpc.status import status_of

CONTRACT: Final = "contract.binpb"
"""The compiled contract with all that it imports, a FileDescriptorSet. `python3 tasks.py generate` writes it."""
V1ALPHA: Final = reflection.SERVICE_NAME
V1: Final = V1ALPHA.replace("v1alpha", "v1")


def add_reflection(router: MethodRouter, services: Collection[str]) -> None:
    """Add the reflection of some services, and of itself, in both versions: v1 has the messages of v1alpha."""
    pool = cast("DescriptorPool", _files())
    servicer = cast("Any", reflection.aio.ReflectionServicer((*services, V1ALPHA, V1), pool))

    async def reflect(
        requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncGenerator[reflection_pb2.ServerReflectionResponse, None]:
        try:
            async for reply in servicer.ServerReflectionInfo(Messages(requests), context):
                yield reply
            return
        except InvalidRequestError as error:
            status = status_of(error)
        await refuse(context, status)

    method = grpc.stream_stream_rpc_method_handler(
        reflect,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for version in (V1ALPHA, V1):
        router.add_registered_method_handlers(version, {"ServerReflectionInfo": method})


@functools.cache
def _files() -> _Files:
    contract = resources.files(__package__).joinpath(CONTRACT).read_bytes()
    alpha, health, details = map(_proto_of, (reflection_pb2, health_pb2, error_details_pb2))
    v1 = text_format.Parse(text_format.MessageToString(alpha).replace("v1alpha", "v1"), FileDescriptorProto())
    # The details of errors: no message of the contract has one as a field.
    return _Files([*FileDescriptorSet.FromString(contract).file, alpha, v1, health, details])


def _proto_of(module: ModuleType) -> FileDescriptorProto:
    proto = FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(proto)
    return proto


class _Files:
    """A pool of files, as far as `ReflectionServicer` uses one, which returns each file with its comments."""

    def __init__(self, files: Collection[FileDescriptorProto]) -> None:
        self._protos = {file.name: file for file in files}
        self._pool = DescriptorPool()
        for file in files:
            self._pool.Add(file)
        self.FindMessageTypeByName = self._pool.FindMessageTypeByName
        self.FindExtensionByNumber = self._pool.FindExtensionByNumber
        self.FindAllExtensions = self._pool.FindAllExtensions

    def FindFileByName(self, name: str) -> _File:
        return _File(self._pool.FindFileByName(name), self._protos)

    def FindFileContainingSymbol(self, symbol: str) -> _File:
        try:
            return _File(self._pool.FindFileContainingSymbol(symbol), self._protos)
        except KeyError:  # the pool of protobuf for Python knows no methods
            return _File(self._pool.FindMethodByName(symbol).containing_service.file, self._protos)


class _File:
    """A file of the pool, as far as `ReflectionServicer` uses one."""

    def __init__(self, descriptor: FileDescriptor, protos: dict[str, FileDescriptorProto]) -> None:
        self.name = descriptor.name
        self._descriptor, self._protos = descriptor, protos

    @property
    def dependencies(self) -> list[_File]:
        return [_File(each, self._protos) for each in self._descriptor.dependencies]

    def CopyToProto(self, proto: FileDescriptorProto) -> None:
        proto.CopyFrom(self._protos[self.name])
