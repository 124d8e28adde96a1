"""The admin application, on an address of its own: whether this process lives, and whether it may get calls."""

import asyncio

from quart import Quart, Response

from callback_edge.exchange import Exchanges
from callback_edge.upstream import Upstream


def create_admin_app(upstream: Upstream, stopping: asyncio.Event) -> Quart:
    """Make the application.

    - `/healthz`: 200 while the process answers at all. What to restart it by.
    - `/readyz`: 200 if calls can be made here; 503 while stopping, or while the server can not be reached or does not
      serve. What to route by.
    """
    app = Quart("callback_edge.admin", static_folder=None)
    app.asgi_app = Exchanges(app.asgi_app, body_limit_bytes=0)  # type: ignore[method-assign]

    @app.get("/healthz")
    async def healthz() -> Response:
        return _plain(200, "ok")

    @app.get("/readyz")
    async def readyz() -> Response:
        if stopping.is_set():
            return _plain(503, "stopping")
        if not await upstream.is_serving():
            return _plain(503, "the server does not serve")
        return _plain(200, "ready")

    return app


def _plain(code: int, text: str) -> Response:
    return Response(text + "\n", code, content_type="text/plain; charset=utf-8")
