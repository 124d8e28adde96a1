"""An HTTP handler for tests: a server that keeps the requests that it gets, and answers them as a test says."""

import asyncio
import base64
import contextlib
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import h11
import httpx
import standardwebhooks
from support.senders import whsec
from support.services import redirect, running_services

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


CALL_ID = "0123456789abcdef0123456789abcdef-0123456789abcdef"
METADATA = {
    "callId": CALL_ID, "callbackSystemCase": CALL_ID[:32], "callbackActivity": "act", "owner": "orders", "attempt": 2,
    "deadline": "2020-01-01T00:00:00.000Z", "timeout": "8.000s", "reason": "CALL", "verified": True,
    "requestMethod": "put", "requestQuery": {"status": "paid", "id": ["5", "6"]}, "verificationProfile": "hub",
    "ofALaterRelease": {"a": 1},
}  # fmt: skip


def signed(body=b"paid", *, secret=SECRET, now=None, **differing):
    """Return the headers of a request that the library of Standard Webhooks has signed."""
    now = now or datetime.now(UTC)
    text = base64.urlsafe_b64encode(json.dumps(METADATA | differing).encode()).decode().rstrip("=")
    library = standardwebhooks.Webhook(secret)
    return {
        "webhook-id": CALL_ID, "webhook-timestamp": str(int(now.timestamp())), "content-type": "text/x",
        "webhook-signature": library.sign(CALL_ID, now, body.decode()), "callback-metadata": text,
        "callback-metadata-signature": library.sign(f"{CALL_ID}.metadata", now, text), "traceparent": "00-a-b-01",
    }  # fmt: skip


def unsigned():
    """Return pairs of headers and a body that a handler with SECRET must refuse, by the reason."""
    now, late, early = (datetime.now(UTC) + timedelta(seconds=seconds) for seconds in (0, -310, 310))
    ours = signed()
    return {
        "nothing": ({}, b"paid"),
        "another body": (ours, b"open"),
        "another secret": (signed(secret=OTHER_SECRET), b"paid"),
        "late": (signed(now=late), b"paid"),
        "early": (signed(now=early), b"paid"),
        "another id": (ours | {"webhook-id": "other"}, b"paid"),
        "another time": (ours | {"webhook-timestamp": str(int(now.timestamp()) + 1)}, b"paid"),
        "no time": (ours | {"webhook-timestamp": ""}, b"paid"),
        "no signature": (ours | {"webhook-signature": ""}, b"paid"),
        "an empty signature": (ours | {"webhook-signature": "v1,"}, b"paid"),
        "other metadata": (ours | {"callback-metadata": signed(owner="mallory")["callback-metadata"]}, b"paid"),
        "no signature of the metadata": (ours | {"callback-metadata-signature": ""}, b"paid"),
        "that of the body": (ours | {"callback-metadata-signature": ours["webhook-signature"]}, b"paid"),
    }


MULTIPART = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\ntext\r\n--b--\r\n'


async def check_handler_of_the_page(url, store, folder):
    """Check that a handler of docs/http-handlers.md decides calls, and refuses what the server has not signed."""
    content_type = {"name": "content-type", "value": "multipart/form-data; boundary=b"}
    async with (
        httpx.AsyncClient() as stranger,
        running_services(store, activities={"act": http_activity(url, folder)}) as services,
    ):
        made = await services.generate("act", retryable_after_error=True)
        status = {"name": "status", "value": "open"}
        rejected = await services.call(made, method="get", request_query=[status])
        assert (rejected.response.response_code, rejected.response.response_body) == (422, b"not paid")
        accepted = await services.call(
            made, body=MULTIPART, request_headers=[content_type], request_query=[status | {"value": "paid"}]
        )
        assert accepted.response == redirect(response_redirect_url="https://shop.example/thankyou")
        assert (await stranger.put(url, headers=signed(), content=b"paid")).status_code == 303
        answers = {
            why: (await stranger.put(url, headers=headers, content=body)).status_code
            for why, (headers, body) in unsigned().items()
        }
        assert {*answers.values()} == {401}, answers
