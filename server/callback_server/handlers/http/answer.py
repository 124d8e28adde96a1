"""The answer of a handler over HTTP, as its decision.

2xx, and 3xx with a `Location`, accept the call. 400, 409 and 422 reject it, and so does any answer with
`callback-decision: reject`. Every other code fails it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from callback.v1 import callback_handler_service_pb2 as handler_pb2
from callback.v1 import callback_pb2
from callback_server.domain.call import CallFailure
from callback_server.domain.http_target import HttpTarget
from callback_server.handlers.handler import HandlerError
from callback_server.handlers.http.connection import HandlerAnswer

_REJECTIONS: Final = frozenset((400, 409, 422))
_DECISIONS: Final = frozenset(("reject", "keep-open", "close", "no-repeat"))


def answered(answer: HandlerAnswer, target: HttpTarget, passed: Collection[str]) -> handler_pb2.HandleCallbackResponse:
    """Return the decision in an answer. It is not checked against the rules of the contract.

    Args:
        answer: The answer.
        target: The URL of the handler.
        passed: The names of the headers that the caller gets, in lower case, besides `content-type`.

    Raises:
        HandlerError: The answer is no decision.
    """
    said = {word.strip().lower() for value in answer.values("callback-decision") for word in value.split(",")} - {""}
    if unknown := said - _DECISIONS:
        known = ", ".join(sorted(_DECISIONS))
        raise _invalid(f"callback-decision has {len(unknown)} unknown words; known: {known}")
    is_rejected = "reject" in said or answer.status in _REJECTIONS
    if not is_rejected and answer.status >= 400:
        raise HandlerError(CallFailure.HANDLER_ERROR, f"the handler answered {answer.status}")
    return handler_pb2.HandleCallbackResponse(
        verdict=handler_pb2.VERDICT_REJECTED if is_rejected else handler_pb2.VERDICT_ACCEPTED,
        response=_response(answer, target, passed),
        keep_open="keep-open" in said,
        close="close" in said,
        no_repeat="no-repeat" in said,
    )


def _response(answer: HandlerAnswer, target: HttpTarget, passed: Collection[str]) -> callback_pb2.Response:
    if 300 <= answer.status < 400:
        locations = answer.values("location")
        if len(locations) != 1:
            raise _invalid(f"the handler answered {answer.status} without one Location")
        if target.is_same(locations[0]):
            raise _invalid(
                f"the handler answered {answer.status} with its own URL in another form; correct the target, or the"
                " rule of the handler that redirects"
            )
        return callback_pb2.Response(
            response_type=callback_pb2.RESPONSE_TYPE_REDIRECT, response_redirect_url=locations[0]
        )
    if any(coding.strip().lower() not in ("", "identity") for coding in answer.values("content-encoding")):
        raise _invalid("the answer has a Content-Encoding, and the request has asked for none")
    given = {"content-type", *passed}
    headers = [callback_pb2.ResponseHeader(name=name, value=value) for name, value in answer.headers if name in given]
    return callback_pb2.Response(
        response_type=callback_pb2.RESPONSE_TYPE_RESPONSE,
        response_code=answer.status,
        response_headers=callback_pb2.ResponseHeaders(headers=headers),
        response_body=answer.body,
    )


def _invalid(why: str) -> HandlerError:
    return HandlerError(CallFailure.INVALID_RESPONSE, why)
