"""The files of the contract as generators read them: descriptors with their comments."""

import textwrap

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto


class ContractFile:
    """A file of the contract, with its comments.

    A comment is found by its path in the descriptor, as descriptor.proto says: 6 is the place of a file's services and
    2 that of a service's methods, 4 that of messages and 2 that of fields, 5 that of enums and 2 that of values.
    """

    def __init__(self, descriptor: FileDescriptorProto) -> None:
        self.descriptor = descriptor
        self.package = descriptor.package
        self.messages, self.enums = descriptor.message_type, descriptor.enum_type
        self.service_names = [service.name for service in descriptor.service]
        self._comments = {tuple(each.path): each.leading_comments for each in descriptor.source_code_info.location}

    def comment(self, *path: int) -> str:
        """Return the comment at a place, as one line."""
        return " ".join(self._comments.get(path, "").split())

    def text(self, *path: int) -> str:
        """Return the comment at a place with its lines, which are Markdown."""
        return textwrap.dedent(self._comments.get(path, "")).strip()

    def index(self, of: DescriptorProto | EnumDescriptorProto) -> int:
        """Return the position of a message or enum."""
        siblings = [each.name for each in (self.messages if isinstance(of, DescriptorProto) else self.enums)]
        return siblings.index(of.name)
