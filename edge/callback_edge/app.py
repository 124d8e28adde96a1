"""The public application: both families of callback addresses, and a problem for everything else."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from quart import Quart, Response, request
from quart.wrappers.base import BaseRequestWebsocket
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from callback.v1 import edge_service_pb2
from callback_edge import status
from callback_edge.answer import Answer, render
from callback_edge.bodies import body_of
from callback_edge.exchange import Exchanges
from callback_edge.limits import Limits
from callback_edge.problems import problems_of
from callback_edge.record import Record, record_of
from callback_edge.request import ALLOW, CALL_METHODS, HttpRequest, is_handshake, is_prefetch, parse_path, to_invoke
from callback_edge.settings import EdgeSettings
from callback_edge.upstream import Upstream
from callback_process import logs

_log = logs.get_logger()

_HTTP_PROBLEMS: Final = {404: status.NOT_FOUND, 408: status.BODY_TIMEOUT}
"""What Quart itself raises, by its status."""


def create_app(settings: EdgeSettings, upstream: Upstream) -> Quart:
    """Make the application.

    Args:
        settings: its limits.
        upstream: who answers the calls; opened and closed by the caller.
    """
    app = _App("callback_edge", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = None  # Exchanges sees to it, on every version of Quart
    app.config["BODY_TIMEOUT"] = settings.body_timeout_s
    limits = Limits(settings)
    app.asgi_app = Exchanges(app.asgi_app, limits, settings)  # type: ignore[method-assign]

    async def call(**_segments: str) -> Response:
        return _to_response(await _answer(upstream, limits))

    app.url_map.merge_slashes = False
    for path in ("/cb/<segment>", "/cbq/<parameter>"):
        _add_route(app, path, call)
    app.register_error_handler(status.Refusal, _refused)
    app.register_error_handler(HTTPException, _refused_by_quart)
    app.register_error_handler(Exception, _failed)
    return app


def _add_route(app: Quart, path: str, view: object) -> None:
    """Add a route for every method, with and without a trailing slash, that never redirects.

    A redirect would repeat the state in a `Location` made from the Host header.
    """
    rule = app.url_rule_class(path, endpoint=path, methods=None, strict_slashes=False)
    rule.provide_automatic_options = False
    app.url_map.add(rule)
    app.view_functions[path] = view  # type: ignore[assignment]


async def _answer(upstream: Upstream, limits: Limits) -> Answer:
    """Answer the request: what needs no look-up first, then its body, then the server."""
    scope = request.scope
    target = parse_path(scope["raw_path"])
    if target is None:
        raise status.Refusal(status.NOT_FOUND)
    if request.method == "HEAD":
        return Answer(200)
    headers = [(bytes(name), bytes(value)) for name, value in scope["headers"]]
    if request.method == "OPTIONS" and not is_handshake(headers):
        return Answer(204, [("allow", ALLOW)])
    if request.method not in (*CALL_METHODS, "OPTIONS"):
        return _problem_answer(status.METHOD_NOT_ALLOWED, headers=[("allow", ALLOW)])
    if is_prefetch(headers):
        raise status.Refusal(status.PREFETCH_REFUSED)
    caller = _record().caller
    received = HttpRequest(
        method=request.method,
        headers=headers,
        query_string=scope["query_string"],
        body=await request.get_data(cache=False, as_text=False, parse_form_data=False),
        client_address=caller.address,
    )
    try:
        limits.may_look_up(caller)
        if request.method == "OPTIONS":
            limits.missed(caller)  # whatever it leads to: so a later 429 tells nothing of it either
        answered = await upstream.invoke(to_invoke(target, received), body_of(scope))
        _record().call_id = answered.call_id
        return _handshake_answer(answered) if request.method == "OPTIONS" else render(answered, request.method)
    except status.Refusal as refusal:
        if request.method == "OPTIONS":
            return Answer(204, [("allow", ALLOW)])  # as without a handshake: nothing is told of any state
        refusal.problem = status.seen_from(refusal.problem, shared_address=target.is_shared)
        if refusal.problem is status.STATE_UNKNOWN:
            limits.missed(caller)  # as it is seen: a later 429 tells no more than this 404
        raise


def _handshake_answer(answered: edge_service_pb2.InvokeResponse) -> Answer:
    answer = render(answered, "OPTIONS")
    others = [(name, value) for name, value in answer.headers if name != "allow"]
    return replace(answer, headers=[*others, ("allow", ALLOW)])


async def _refused(refusal: status.Refusal) -> Response:
    if refusal.call_id:
        _record().call_id = refusal.call_id
    if refusal.problem.status >= 500 and refusal.problem is not status.PREFETCH_REFUSED:
        _log.warning("call refused", code=refusal.problem.code, call_id=refusal.call_id)
    headers = [("www-authenticate", refusal.challenge)] if refusal.challenge else []
    return _to_response(_problem_answer(refusal.problem, retry_after_s=refusal.retry_after_s, headers=headers))


async def _refused_by_quart(error: HTTPException) -> Response:
    return _to_response(_problem_answer(_HTTP_PROBLEMS.get(error.code or 0, status.BAD_REQUEST)))


async def _failed(error: Exception) -> Response:
    _log.error("request failed", call_id=_record().call_id, exc_info=error)
    return _to_response(_problem_answer(status.INTERNAL))


def _problem_answer(
    problem: status.Problem, *, retry_after_s: int | None = None, headers: Sequence[tuple[str, str]] = ()
) -> Answer:
    _record().refused(problem)
    problems = problems_of(request.scope)
    return problems.answer(problem, request.scope["headers"], retry_after_s=retry_after_s, headers=headers)


def _record() -> Record:
    return record_of(request.scope)


class _App(Quart):
    """Quart, but that finds a route without a look at the Host: that can be anything, and Quart fails on some."""

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        return self.url_map.bind("", path_info=request.path, default_method=request.method) if request else None


class _Response(Response):
    """Quart's response without its own ideas: no default type, no length where none belongs."""

    default_mimetype = None  # type: ignore[assignment]
    automatically_set_content_length = False


def _to_response(answer: Answer) -> Response:
    response = _Response(answer.body, answer.status)
    response.headers.extend(answer.framed_headers)
    return response
