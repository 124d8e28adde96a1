"""An HTTP handler for tests: a server that keeps the requests that it gets, and answers them as a test says."""

import asyncio
import base64
import contextlib
import json
from types import SimpleNamespace

import h11
import httpx
import standardwebhooks
from support.senders import whsec
from support.services import redirect, refusal, running_services

from callback_conform.relay import stop_accepting
from callback_process.tasks import cancel_all
from callback_server.settings import ActivitySettings

SECRET = whsec(b"handler")
OTHER_SECRET = whsec(b"other")


class Received(SimpleNamespace):
    """A request that a handler got: `method`, `path`, `fields` (pairs, in order), `headers` (by name) and `body`."""

    @property
    def metadata(self):
        """What the server says about the call, without a check of its signature."""
        encoded = self.headers["callback-metadata"]
        return json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))

    def verify(self, secret=SECRET):
        """Check both signatures by the library of Standard Webhooks. Raises WebhookVerificationError."""
        library = standardwebhooks.Webhook(secret)
        library.verify(self.body, self.headers, json_parse=False)
        of_metadata = {
            "webhook-id": f"{self.headers['webhook-id']}.metadata",
            "webhook-timestamp": self.headers["webhook-timestamp"],
            "webhook-signature": self.headers["callback-metadata-signature"],
        }
        library.verify(self.headers["callback-metadata"], of_metadata, json_parse=False)


def answer(status=200, body=b"", *fields):
    """Return an answer as it is sent. A field is a line."""
    lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class HttpHandlerServer:
    """A server of HTTP/1.1 on loopback.

    `answers` has what it sends, one after the other and the last for ever: bytes, or a coroutine function of the
    request and the writer. With None it closes the connection without an answer. `requests` has what it got, and
    `connections` counts.
    """

    def __init__(self, *answers, tls=None):
        self._tls = tls
        self.answers = list(answers or [answer()])
        self.requests = []
        self.connections = 0
        self._serving = set()

    @property
    def url(self):
        return f"http{'' if self._tls is None else 's'}://127.0.0.1:{self.port}/hook"

    async def _serve(self, reader, writer):
        self.connections += 1
        self._serving.add(asyncio.current_task())
        try:
            await self._answer_all(reader, writer)
        finally:
            writer.close()

    async def _answer_all(self, reader, writer):
        http = h11.Connection(h11.SERVER)
        with contextlib.suppress(ConnectionError):
            while (request := await _read(http, reader)) is not None:
                self.requests.append(request)
                given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if given is None:
                    break
                if callable(given):
                    await given(request, writer)
                else:
                    writer.write(given)
                    await writer.drain()
                http = h11.Connection(h11.SERVER)

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error):
        await stop_accepting(self._server)
        await cancel_all(self._serving)


async def _read(http, reader):
    """Return the next request of a connection. None: there is none."""
    head, body = None, b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(65_536))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            break
        else:
            return None
    fields = [(name.decode(), value.decode("latin-1")) for name, value in head.headers]
    return Received(
        method=head.method.decode(), path=head.target.decode(), fields=fields, headers=dict(fields), body=body
    )


def http_activity(url, folder, *secrets, **fields):
    """Return the settings of an activity with an HTTP handler, whose secrets are written to files in a folder."""
    files = []
    folder.mkdir(exist_ok=True)
    for index, secret in enumerate(secrets or (SECRET,)):
        files.append(folder / f"secret-{index}")
        files[-1].write_text(f"{secret}\n")
    names = ("request_headers", "response_headers", "notifications", "max_in_flight", "private_networks")
    http = {name: fields.pop(name) for name in names if name in fields}
    return ActivitySettings(target=url, http={"secret_files": files, **http}, **{"deadline_s": 60} | fields)


async def check_handler_of_the_page(url, store, folder):
    """Check that a handler of docs/http-handlers.md decides calls, and refuses what the server has not signed."""
    activities = {"act": http_activity(url, folder), "other": http_activity(url, folder / "other", OTHER_SECRET)}
    async with httpx.AsyncClient() as stranger, running_services(store, activities=activities) as services:
        made = await services.generate("act", retryable_after_error=True)
        status = {"name": "status", "value": "open"}
        rejected = await services.call(made, method="get", request_query=[status])
        assert (rejected.response.response_code, rejected.response.response_body) == (422, b"not paid")
        accepted = await services.call(made, body=b"{}", request_query=[status | {"value": "paid"}])
        assert accepted.response == redirect(response_redirect_url="https://shop.example/thankyou")
        assert (await stranger.post(url, content=b"paid")).status_code == 401
        assert (await refusal(services.call(await services.generate("other")))).reason == "HANDLER_FAILED"
