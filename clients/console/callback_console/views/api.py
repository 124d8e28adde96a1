"""View *API*: a form that sends a request as JSON, and shows it as a curl command. Also the OpenAPI document."""

from typing import Final

from quart import Blueprint, Response

from callback_api.description import OPENAPI, RPCS
from callback_console.request_context import page

blueprint: Final = Blueprint("api", __name__)


@blueprint.get("/api")
async def show() -> str:
    """Show the form."""
    return await page("api.html", rpcs=RPCS)


@blueprint.get("/api/openapi.json")
async def openapi() -> Response:
    """Return the OpenAPI document. It says nothing of this system, so it needs no session."""
    return Response(OPENAPI, content_type="application/json")
