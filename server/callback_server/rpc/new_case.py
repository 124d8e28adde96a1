"""The case that a GenerateCallbackUrlRequest describes, or every violation in it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from callback.v1 import callback_pb2 as pb
from callback.v1 import callbacks_service_pb2 as pb2
from callback_server.contract.conversion import from_message, member_of
from callback_server.contract.converters import response_from
from callback_server.contract.validation import violations
from callback_server.domain import ids
from callback_server.domain.activity import Activity, deadline_ms
from callback_server.domain.case import (
    DEFAULT_HOLD_TIME_MS,
    DEFAULT_REPEAT_WINDOW_MS,
    FORM,
    RECORD,
    AnswerMode,
    CallMode,
    Fallback,
    NewCase,
    Settings,
    response_problems,
)
from callback_server.domain.cookies import CookieDomains, cookie_problems
from callback_server.domain.endpoint import Endpoint
from callback_server.domain.form import PromptField
from callback_server.domain.guard import CHOICE_PARAMETER, CONFIRM_PARAMETER
from callback_server.domain.own_profile import is_own
from callback_server.domain.response import Response, ResponseType, in_field, problems
from callback_server.domain.url import normalize_origin
from callback_server.errors import (
    EndpointNotFoundError,
    InvalidRequestError,
    RequestIdUnsupportedError,
    Violation,
)
from callback_server.settings import ServerSettings
from callback_server.store.correlation import CorrelationNames
from callback_server.store.keys import partition_of
from callback_server.store.pointers import new_pointed_state, new_state_in, pointed_state

_OF_URLS: Final = frozenset(
    (
        "state_query_parameter",
        "alternative_domain",
        "verification_profile",
        "get_guard",
        "prompt",
        "closed_response",
        "allowed_origins",
        "frame_origins",
    )
)
"""The fields of a request that hold on the URL of a case, and not for events."""

creator_traceparent: Final = ContextVar("creator_traceparent", default="")
"""The trace context that generates a callback. Empty: there is none, or this process does not trace."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The configuration of the server for new cases."""

    settings: ServerSettings
    cookie_domains: CookieDomains
    """The alternative domains that are reserved for one owner each."""
    activities: Mapping[str, Activity]
    """The declared activities."""
    profiles: Collection[str]
    """The names of the declared verification profiles."""
    endpoints: Mapping[str, Endpoint]
    """The declared endpoints by name."""
    correlation_names: CorrelationNames
    state_key: bytes | None = field(repr=False)

    @property
    def default_hold_time_ms(self) -> int:
        """How long a held call waits for its answer where the request does not say, in milliseconds."""
        return min(DEFAULT_HOLD_TIME_MS, self.settings.max_hold_time_s * 1000)


def new_case(
    request: pb2.GenerateCallbackUrlRequest, policy: Policy, *, owner: str, own_profiles: Collection[str] = ()
) -> tuple[NewCase, str]:
    """Return the requested case, and the state in its URL.

    Args:
        request: The request.
        policy: The configuration for new cases.
        owner: The owner.
        own_profiles: The names of verification profiles of the owner.

    Raises:
        InvalidRequestError: The request is not valid. The error lists every bad field.
        EndpointNotFoundError: The owner has no such endpoint.
        RequestIdUnsupportedError: There is a `request_id`, and the server has no `state_key`.
    """
    activity = request.callback_activity
    domain = normalize_origin(request.alternative_domain)
    cookie_host = policy.cookie_domains.host(domain, owner)
    answer_mode = member_of(AnswerMode, request, "answer_mode") or _default_answer_mode(activity)
    response = response_from(request.response)
    answer_deadline_ms = request.answer_deadline.ToMilliseconds() if request.HasField("answer_deadline") else None
    fallback = (
        Fallback(answer_deadline_ms or 0, response_from(request.fallback)) if request.HasField("fallback") else None
    )
    notify, remind_after = request.notify, request.remind_after  # each look at them makes an object
    found = [
        *_guard_problems(request),
        *(_origin_problems(request) if request.allowed_origins or request.frame_origins else ()),
        *_policy_problems(request, policy, own_profiles),
        *_domain_problems(domain, policy, owner),
        *(_endpoint_problems(request) if request.endpoint or request.correlation_key or request.no_url else ()),
        *_answer_problems(request, answer_mode),
        *_hold_problems(request, answer_mode, policy),
        *_fallback_problems(request, fallback, answer_deadline_ms, answer_mode, policy),
        *(_notification_problems(request) if notify or remind_after else ()),
    ]
    closed_response = response_from(request.closed_response) if request.HasField("closed_response") else None
    if closed_response is not None:
        found += _closed_response_problems(request, closed_response, policy)
        found += in_field("closed_response", cookie_problems(closed_response, cookie_host))
    if fallback is not None:
        found += in_field("fallback", cookie_problems(fallback.response, cookie_host))
    if request.HasField("response"):
        broken = [
            *response_problems(
                response, policy.settings.platform_url, policy.settings.redirect_schemes, activity, answer_mode
            ),
            *cookie_problems(response, cookie_host),
        ]
        if broken:
            found += in_field("response", broken)
    found += violations(request)
    if found:
        # One violation per field, the last: the rules of the contract come last and matter most.
        raise InvalidRequestError(list({each.field: each for each in found}.values()))
    correlation = _correlation(request, policy, owner) if request.endpoint else ""
    pointer, nonce, fingerprint = "", b"", b""
    if request.request_id:
        new = new_pointed_state(_state_key(policy), owner=owner, request_id=request.request_id, correlation=correlation)
        pointer, nonce, state, state_sha256 = new.pointer, new.nonce, new.state, new.state_sha256
        fingerprint = _fingerprint(request, answer_mode, domain, policy)
    elif correlation:
        state, state_sha256 = new_state_in(partition_of(correlation))
    else:
        state = ids.new_state()
        state_sha256 = ids.state_hash(state)
    return from_message(
        NewCase,
        request,
        id=ids.case_id_of(state_sha256),
        state_sha256=state_sha256,
        fingerprint=fingerprint,
        owner=owner,
        mode=_mode(request),
        time_to_live_ms=_time_to_live_ms(request, policy),
        settings=from_message(
            Settings,
            request,
            alternative_domain=domain,
            allowed_origins=_normalized(request.allowed_origins),
            frame_origins=_normalized(request.frame_origins),
            traceparent=creator_traceparent.get(),
            answer_deadline_ms=answer_deadline_ms if fallback is None else None,
            remind_after_ms=tuple(sorted(each.ToMilliseconds() for each in remind_after)) if remind_after else (),
        ),
        response=response,
        answer_mode=answer_mode,
        fallback=fallback,
        closed_response=closed_response,
        hold_time_ms=_hold_time_ms(request, policy) if answer_mode is AnswerMode.HOLD else DEFAULT_HOLD_TIME_MS,
        repeat_window_ms=_repeat_window_ms(request),
        pointer=pointer,
        nonce=nonce,
        correlation=correlation,
        has_url=not request.no_url,
    ), state


def known_state(request: pb2.GenerateCallbackUrlRequest, policy: Policy, case: NewCase, *, nonce: bytes) -> str:
    """Return the state of the case that an earlier request with the same `request_id` stored, from its nonce.

    Args:
        request: The request.
        policy: The configuration for new cases.
        case: The case that was not stored, because there is that one.
        nonce: The nonce of that case.
    """
    return pointed_state(
        _state_key(policy),
        owner=case.owner,
        request_id=request.request_id,
        nonce=nonce,
        correlation=case.correlation,
    )


def _correlation(request: pb2.GenerateCallbackUrlRequest, policy: Policy, owner: str) -> str:
    """Return the name of the pointer of the correlation key of a request."""
    endpoint = policy.endpoints.get(request.endpoint)
    if endpoint is None or endpoint.owner != owner:
        raise EndpointNotFoundError
    return policy.correlation_names.name(
        owner=owner, endpoint=endpoint.name, profile="", correlation_key=request.correlation_key
    )


def _state_key(policy: Policy) -> bytes:
    if policy.state_key is None:
        raise RequestIdUnsupportedError
    return policy.state_key


def _domain_problems(domain: str, policy: Policy, owner: str) -> list[Violation]:
    if not domain or policy.cookie_domains.host(domain, owner):
        return []
    is_listed = policy.settings.alternative_domains is None or domain in policy.settings.alternative_domains
    if is_listed and not policy.cookie_domains.is_reserved(domain, owner):
        return []
    return [Violation("alternative_domain", "not_allowed", "is not among the allowed domains")]


def _policy_problems(
    request: pb2.GenerateCallbackUrlRequest, policy: Policy, own_profiles: Collection[str]
) -> Iterator[Violation]:
    profile, longest = request.verification_profile, policy.settings.max_time_to_live_s
    if is_own(profile):
        if profile not in own_profiles:
            yield Violation("verification_profile", "profile_unknown", "is not one of yours; create it first")
    elif profile and profile not in policy.profiles:
        declared = ", ".join(sorted(policy.profiles)) or "none"
        yield Violation("verification_profile", "profile_unknown", f"is not declared; declared: {declared}"[:300])
    if longest is not None and request.time_to_live.ToMilliseconds() > longest * 1000:
        yield Violation("time_to_live", "too_long", f"must be at most {longest} s")


def _endpoint_problems(request: pb2.GenerateCallbackUrlRequest) -> Iterator[Violation]:
    if request.endpoint and not request.correlation_key:
        yield Violation("correlation_key", "required", "is missing: events at the endpoint find the case by it")
    if request.correlation_key and not request.endpoint:
        yield Violation("correlation_key", "endpoint", "needs an endpoint")
    if request.no_url:
        if not request.endpoint:
            yield Violation("no_url", "endpoint", "needs an endpoint: without a URL only events reach the case")
        given = {field.name for field, _ in request.ListFields()}
        if request.get_guard == pb.GET_GUARD_OFF:
            given.discard("get_guard")
        for name in given & _OF_URLS:
            yield Violation(name, "no_url", "cannot be combined with no_url: it holds on the URL of the case alone")


def _guard_problems(request: pb2.GenerateCallbackUrlRequest) -> Iterator[Violation]:
    if request.get_guard != pb.GET_GUARD_CONFIRM:
        if request.HasField("prompt"):
            yield Violation("prompt", "get_guard", "needs the get_guard CONFIRM")
        return
    if request.verification_profile:
        problem = "CONFIRM excludes a verification_profile: a person cannot sign a request"
        yield Violation("get_guard", "exclusive", problem)
        yield Violation("verification_profile", "exclusive", "cannot be combined with the get_guard CONFIRM")
    for place, message in enumerate(request.prompt.fields):
        field = from_message(PromptField, message)
        yield from in_field(f"prompt.fields[{place}]", field.definition_problems())
        if field.name == request.state_query_parameter and field.name:
            problem = "is the state_query_parameter: the form would have two values for it"
            yield Violation(f"prompt.fields[{place}].name", "reserved", problem)
    if request.state_query_parameter in (CONFIRM_PARAMETER, CHOICE_PARAMETER):
        yield Violation("state_query_parameter", "reserved", "is reserved for the confirmation page")


def _origin_problems(request: pb2.GenerateCallbackUrlRequest) -> Iterator[Violation]:
    if "*" in request.allowed_origins and len(request.allowed_origins) > 1:
        yield Violation("allowed_origins", "any_origin", "cannot have other origins beside *, which is every origin")
    if "*" in request.frame_origins:
        yield Violation("frame_origins", "any_origin", "cannot have *: name each site that shows the URL in a frame")
    if any("[" in origin for origin in request.frame_origins):
        problem = "cannot have an IPv6 address: no Content-Security-Policy can name one. Use the name of a host"
        yield Violation("frame_origins", "ipv6_origin", problem)
    if request.allowed_origins and request.get_guard == pb.GET_GUARD_CONFIRM:
        problem = "cannot be combined with the get_guard CONFIRM: a script cannot confirm for a person"
        yield Violation("allowed_origins", "get_guard", problem)


def _answer_problems(request: pb2.GenerateCallbackUrlRequest, answer_mode: AnswerMode) -> Iterator[Violation]:
    activity = request.callback_activity
    if activity == FORM and answer_mode is not AnswerMode.HOLD:
        yield Violation("answer_mode", "activity", "must be HOLD: calls of the activity form are held")
    if activity == RECORD and answer_mode is not AnswerMode.HANDLER:
        yield Violation("answer_mode", "activity", "must be HANDLER: the activity record answers by itself")
    if request.ordered and answer_mode is not AnswerMode.ACK:
        yield Violation("ordered", "answer_mode", "needs the answer_mode ACK")


def _notification_problems(request: pb2.GenerateCallbackUrlRequest) -> Iterator[Violation]:
    activity = request.callback_activity
    reminds = pb.CALL_REASON_REMINDER in request.notify
    times = {each.ToMilliseconds() for each in request.remind_after}
    if len(times) < len(request.remind_after):
        yield Violation("remind_after", "unique", "must each be another time")
    if times and not reminds:
        yield Violation("remind_after", "notify", "needs REMINDER in notify")
    if reminds and not times:
        yield Violation("notify", "remind_after", "REMINDER needs remind_after")
    if request.notify and activity in (RECORD, FORM):
        problem = (
            f"is refused for the activity {activity}, which has no handler; use the name of yours with answer_mode HOLD"
        )
        yield Violation("notify", "activity", problem)


def _hold_problems(request: pb2.GenerateCallbackUrlRequest, answer_mode: AnswerMode, policy: Policy) -> list[Violation]:
    if not request.HasField("hold_time"):
        return []
    if answer_mode is not AnswerMode.HOLD:
        return [Violation("hold_time", "answer_mode", "needs the answer_mode HOLD")]
    if request.hold_time.ToMilliseconds() > policy.settings.max_hold_time_s * 1000:
        return [Violation("hold_time", "too_long", f"must be at most {policy.settings.max_hold_time_s} s")]
    return []


def _hold_time_ms(request: pb2.GenerateCallbackUrlRequest, policy: Policy) -> int:
    return request.hold_time.ToMilliseconds() if request.HasField("hold_time") else policy.default_hold_time_ms


def _fallback_problems(
    request: pb2.GenerateCallbackUrlRequest,
    fallback: Fallback | None,
    answer_deadline_ms: int | None,
    answer_mode: AnswerMode,
    policy: Policy,
) -> Iterator[Violation]:
    if fallback is not None and answer_deadline_ms is None:
        problem = "is missing: fallback needs the time at which it is sent"
        yield Violation("answer_deadline", "required", problem)
    if answer_deadline_ms is not None:
        activity = request.callback_activity
        if answer_mode is AnswerMode.HOLD:
            longest_ms, what = _hold_time_ms(request, policy), "the hold_time"
        else:
            longest_ms, what = deadline_ms(policy.activities, activity), "the deadline of the activity"
            if activity != RECORD:
                what += f": deadline_s in [activities.{activity}] of the server's configuration"
        if answer_deadline_ms > longest_ms:
            problem = f"must be at most {longest_ms / 1000:g} s, {what}"
            yield Violation("answer_deadline", "too_long", problem)
    if fallback is not None:
        broken = _effective_problems(fallback.response, policy)
        yield from in_field("fallback", broken)


def _effective_problems(response: Response, policy: Policy) -> list[Violation]:
    settings = policy.settings
    return problems(
        response,
        platform_url=settings.platform_url,
        redirect_schemes=settings.redirect_schemes,
        must_be_complete=True,
    )


def _closed_response_problems(
    request: pb2.GenerateCallbackUrlRequest, response: Response, policy: Policy
) -> list[Violation]:
    found = _effective_problems(response, policy)
    if (
        request.state_query_parameter
        and response.type is not ResponseType.REDIRECT
        and response.code == HTTPStatus.GONE
    ):
        problem = "cannot be 410 with a state_query_parameter: some senders then disable that URL, which is shared"
        found.append(Violation("response_code", "shared_url", problem))
    return in_field("closed_response", found)


def _fingerprint(
    request: pb2.GenerateCallbackUrlRequest, answer_mode: AnswerMode, domain: str, policy: Policy
) -> bytes:
    """Return the hash that distinguishes a retried request from another request with the same `request_id`."""
    content = pb2.GenerateCallbackUrlRequest()
    content.CopyFrom(request)
    content.ClearField("request_id")
    content.alternative_domain = domain  # another spelling is the same content
    content.allowed_origins[:] = _normalized(request.allowed_origins)
    content.frame_origins[:] = _normalized(request.frame_origins)
    # An explicit default is the same content as no value.
    if content.get_guard == pb.GET_GUARD_OFF:
        content.ClearField("get_guard")
    if answer_mode is _default_answer_mode(content.callback_activity):
        content.ClearField("answer_mode")
    if _hold_time_ms(content, policy) == policy.default_hold_time_ms:
        content.ClearField("hold_time")
    content.ClearField("repeat_window")
    if _repeat_window_ms(request) != _repeat_window_ms(content):
        content.repeat_window.CopyFrom(request.repeat_window)
    return hashlib.sha256(content.SerializeToString(deterministic=True)).digest()


def _normalized(origins: Iterable[str]) -> tuple[str, ...]:
    """Return each origin once, in its one spelling."""
    return tuple(dict.fromkeys(map(normalize_origin, origins)))


def _time_to_live_ms(request: pb2.GenerateCallbackUrlRequest, policy: Policy) -> int | None:
    if request.HasField("time_to_live"):
        return request.time_to_live.ToMilliseconds()
    default_s, longest_s = policy.settings.default_time_to_live_s, policy.settings.max_time_to_live_s
    if default_s is None or (longest_s is not None and longest_s < default_s):
        default_s = longest_s
    return None if default_s is None else default_s * 1000


def _repeat_window_ms(request: pb2.GenerateCallbackUrlRequest) -> int:
    if request.HasField("repeat_window"):
        return request.repeat_window.ToMilliseconds()
    return 0 if request.allow_multiple_calls else DEFAULT_REPEAT_WINDOW_MS


def _default_answer_mode(activity: str) -> AnswerMode:
    return AnswerMode.HOLD if activity == FORM else AnswerMode.HANDLER


def _mode(request: pb2.GenerateCallbackUrlRequest) -> CallMode:
    if request.allow_multiple_calls:
        return CallMode.MULTIPLE
    return CallMode.RETRYABLE if request.retryable_after_error else CallMode.SINGLE
