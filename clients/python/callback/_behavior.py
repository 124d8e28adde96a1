"""What values do beyond the contract: a generated class of values extends the class here that begins with its name."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

from callback._enums import ActivityKind, ResponseType
from callback._forms import Form, read_form
from callback._multi_mapping import Headers, PairsLike
from callback._value import Value


class NotJsonError(ValueError):
    """The body of a request is not JSON. A handler that raises it rejects the call: the caller sent incorrect data."""


class RequestBehavior(Value):
    """Reads the body of a request."""

    __slots__ = ()

    headers: Headers
    """The header fields."""
    body: bytes
    """The body."""
    verification_profile: str
    """The profile that the request passed."""
    fields_json: str
    """What a person filled in, as a JSON object. Empty: the callback has no fields."""

    @property
    def verified(self) -> bool:
        """Whether the request passed a verification profile. A profile that only reports lets others through."""
        return bool(self.verification_profile)

    def json(self) -> Any:
        """Parse the body as JSON.

        Raises:
            NotJsonError: The body is not JSON. A handler that lets it pass rejects the call with a 400.
        """
        try:
            return json.loads(self.body)
        except (RecursionError, ValueError) as error:
            raise NotJsonError("the body is not JSON") from error

    @property
    def fields(self) -> dict[str, Any]:
        """What a person filled in on the page of the callback, by the names of the fields of its prompt.

        A value is a text, a number, a boolean or a list of texts. A field that was left empty is not there.
        """
        return json.loads(self.fields_json) if self.fields_json else {}

    def form(self) -> Form:
        """Parse the body as a form: urlencoded, which it is without a Content-Type too, or multipart.

        Files stay in memory; they, and fields, are as large as the edge lets a body be.

        Raises:
            NotFormError: The type is that of no form, or a multipart form is not whole, has more than 1,000 parts, or
                one without a name. A handler that lets it pass rejects the call with a 400.
        """
        return read_form(self.headers, self.body)


class ResponseBehavior(Value):
    """Makes responses, and compares them by value: the response of the server equals the `Redirect` that was sent."""

    __slots__ = ()

    @classmethod
    def json(cls, value: Any, code: int | None = None, headers: PairsLike | None = None) -> Self:
        """Return a response with a JSON body of the type `application/json`.

        Args:
            value: A value that `json.dumps` accepts.
            code: See `Response`.
            headers: More header fields.

        Raises:
            TypeError: The value contains something that JSON cannot represent.
            ValueError: The value contains NaN, infinity, or a reference to itself.
        """
        return cls._typed("application/json", json.dumps(value, allow_nan=False), code, headers)

    @classmethod
    def html(cls, page: str, code: int | None = None, headers: PairsLike | None = None) -> Self:
        """Return a response with an HTML page of the type `text/html; charset=utf-8`.

        Args:
            page: The page, sent unchanged. Escape everything in it that came from outside.
            code: See `Response`.
            headers: More header fields.
        """
        return cls._typed("text/html; charset=utf-8", page, code, headers)

    @classmethod
    def _typed(cls, content_type: str, body: str, code: int | None, headers: PairsLike | None) -> Self:
        make: Callable[..., Self] = cls
        pairs = [("content-type", content_type), *Headers(headers or ()).pairs]
        return make(body=body, code=code, headers=pairs, type=ResponseType.RESPONSE)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ResponseBehavior):
            return NotImplemented
        return self._attributes() == other._attributes()

    def __hash__(self) -> int:
        return hash(self._attributes())

    def _attributes(self) -> tuple[object, ...]:
        return tuple(getattr(self, each.name) for each in dataclasses.fields(self))  # type: ignore[arg-type]  # of the subclass

    def _assign(self, **attributes: object) -> None:
        """Set the attributes, once: a value is immutable afterwards."""
        for name, value in attributes.items():
            object.__setattr__(self, name, value)


class ActivityBehavior(Value):
    """Sums up how an activity is served."""

    __slots__ = ()

    kind: ActivityKind
    """How it is served."""
    worker_count: int
    """The number of its workers."""

    @property
    def is_served(self) -> bool:
        """Whether something takes its calls."""
        return self.kind is not ActivityKind.WORKERS or self.worker_count > 0


class _Count(Protocol):
    @property
    def count(self) -> int: ...


class MinuteStatisticsBehavior(Value):
    """Sums up a minute."""

    __slots__ = ()

    outcomes: Sequence[_Count]
    """The calls that ended."""

    @property
    def call_count(self) -> int:
        """Number of calls that ended."""
        return sum(each.count for each in self.outcomes)
