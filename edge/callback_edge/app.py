"""The public application: Quart, whose connections are exchanges. They answer calls; its routes have the rest."""

from typing import NoReturn

from quart import Quart
from quart.wrappers.base import BaseRequestWebsocket
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from callback_edge import problems
from callback_edge.call.exchange import Exchanges
from callback_edge.settings import EdgeSettings
from callback_edge.upstream.client import Upstream


def create_app(settings: EdgeSettings, upstream: Upstream) -> Quart:
    """Make the application.

    Args:
        settings: its limits.
        upstream: who answers the calls; opened and closed by the caller.
    """
    app = _App("callback_edge", static_folder=None)
    app.config["PROPAGATE_EXCEPTIONS"] = True  # to the exchange, which answers; Quart would log the path
    app.register_error_handler(HTTPException, _refuse)
    app.asgi_http_class = Exchanges(upstream, settings)  # type: ignore[assignment]  # makes one as a class would
    return app


async def _refuse(error: HTTPException) -> NoReturn:
    raise problems.Refusal(problems.NOT_FOUND if error.code == 404 else problems.BAD_REQUEST)


class _App(Quart):
    """Quart, but that finds a route without a look at the Host: that can be anything, and Quart fails on some."""

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        return self.url_map.bind("", path_info=request.path, default_method=request.method) if request else None
