"""Fields of the contract: their kinds, options and short names."""

import re
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor

_PREFIX = re.compile("^(callback|request|response)_")


def is_map(field: FieldDescriptor) -> bool:
    """Return whether a field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def option(field: FieldDescriptor, extension: Any) -> Any:
    """Return an option of a field (`callback.v1.options_pb2`). One that is not given has its default."""
    return field.GetOptions().Extensions[extension]


def short_name(field: FieldDescriptor) -> str:
    """Return the name of a field in clients: without the prefix of its resource, if it has no option for that."""
    # By name: the import of `callback.v1` would import the client, which uses this module.
    given = option(field, descriptor_pool.Default().FindExtensionByName("callback.v1.short_name"))
    return given or _PREFIX.sub("", field.name)
