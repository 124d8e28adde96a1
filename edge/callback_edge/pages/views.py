"""Quart's part of the pages: the blueprint with its templates, and the handlers of Quart's errors.

Put a page that belongs to an address of its own here, as a view: `@blueprint.get(…)` and
`render_template`. It uses the same Jinja environment as `Pages`: a template of the operator comes first, and
`page.html` is the layout.
"""

from quart import Blueprint, Response
from werkzeug.exceptions import HTTPException

from callback_edge import problems
from callback_edge.pages.pages import BLUEPRINT

blueprint = Blueprint(BLUEPRINT, __name__, template_folder="templates")


class ProblemResponse(Response):
    """Quart response that is a problem."""

    def __init__(self, problem: problems.Problem) -> None:
        super().__init__(status=problem.status)
        self.problem = problem
        """The problem. The exchange answers with its page."""


@blueprint.app_errorhandler(404)
async def not_found(_error: HTTPException) -> Response:
    """Answer a request at an address that does not exist."""
    return ProblemResponse(problems.NOT_FOUND)


@blueprint.app_errorhandler(HTTPException)
async def bad_request(_error: HTTPException) -> Response:
    """Answer a request that Quart or a view refuses for another reason."""
    return ProblemResponse(problems.BAD_REQUEST)
