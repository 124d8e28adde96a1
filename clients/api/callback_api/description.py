"""The OpenAPI document of the API, and a request of each RPC to start from."""

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

OPENAPI: Final = (files(__package__) / "openapi.json").read_bytes()
"""The document, as JSON."""

_EXAMPLES: Final[dict[str, object]] = {
    "callId": "CALL",
    "callbackActivity": "record",
    "callbackCaseId": "CASE",
    "expireTime": "2030-01-01T00:00:00Z",
    "filter": "WAITING",
    "response": {"responseType": "RESPONSE", "responseBody": "thank you"},
}
"""Values of required fields of requests. Any other one is a text: its name in capital letters."""


@dataclass(frozen=True, slots=True)
class Rpc:
    """An RPC with one response."""

    name: str
    path: str
    summary: str
    """What it does, in a sentence of the contract."""
    example: str
    """A request with its required fields, as JSON."""


def _rpcs() -> tuple[Rpc, ...]:
    document: dict[str, Any] = json.loads(OPENAPI)
    found = []
    for path, item in document["paths"].items():
        operation = item["post"]
        content = operation["requestBody"]["content"].get("application/json")
        if content:  # not a stream
            schema = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
            example = {name: _EXAMPLES.get(name, name.upper()) for name in schema.get("required", ())}
            found.append(Rpc(operation["operationId"], path, operation["summary"], json.dumps(example, indent=2)))
    return tuple(found)


RPCS: Final = _rpcs()
"""The RPCs with one response, in the order of the contract."""
