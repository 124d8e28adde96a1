"""Quart's part of the pages: the blueprint with its templates, the handlers of Quart's errors, and the way to both.

Put a page that belongs to an address of its own here, as a view: `@blueprint.get(…)` and
`render_template`. It uses the same Jinja environment as `Pages`: a template of the operator comes first, and
`page.html` is the layout.
"""

from typing import Any, cast

from quart import Blueprint, Quart, Response
from quart.asgi import ASGIHTTPConnection
from werkzeug.exceptions import HTTPException, NotFound

from callback_edge import problems
from callback_edge.pages.pages import BLUEPRINT
from callback_process.http.answer import HttpAnswer

blueprint = Blueprint(BLUEPRINT, __name__, template_folder="templates")


class _ProblemResponse(Response):
    """Quart response that is a problem."""

    def __init__(self, problem: problems.Problem) -> None:
        super().__init__(status=problem.status)
        self.problem = problem


async def answer(app: Quart, scope: Any) -> HttpAnswer | problems.Problem:
    """Return the answer of a view to a request with this ASGI scope, without its body, or the problem that answers it.

    Quart's request object is made only if there is a route, because it costs time.
    """
    try:
        app.url_map.bind("").match(scope["path"], scope["method"])
    except NotFound:
        return problems.NOT_FOUND
    except HTTPException:
        pass  # the application answers it
    push: Any = None  # HTTP/1.1 has no server push
    request = ASGIHTTPConnection(app, scope)._create_request_from_scope(push)  # noqa: SLF001  # as Quart makes it
    request.body.set_complete()  # no view reads a body
    response = cast(Response, await app.handle_request(request))
    if isinstance(response, _ProblemResponse):
        return response.problem
    headers = [(name.lower(), value) for name, value in response.headers if name.lower() != "content-length"]
    return HttpAnswer(response.status_code, headers, await response.get_data(as_text=False))


@blueprint.app_errorhandler(404)
async def not_found(_error: HTTPException) -> Response:
    """Answer a request at an address that does not exist."""
    return _ProblemResponse(problems.NOT_FOUND)


@blueprint.app_errorhandler(HTTPException)
async def bad_request(_error: HTTPException) -> Response:
    """Answer a request that Quart or a view refuses for another reason."""
    return _ProblemResponse(problems.BAD_REQUEST)
