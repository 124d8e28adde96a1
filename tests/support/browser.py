"""A real browser, and sites for it: each site is an origin of its own on loopback, with pages that a test writes."""

import asyncio
import contextlib
from urllib.parse import urlsplit

import h11
from playwright.async_api import async_playwright
from support.tools import require
from support.wait import DEADLINE_S, wait_until

from callback_conform.relay import stop_accepting


@contextlib.asynccontextmanager
async def chromium():
    """A running Chromium without the parts of its window, which would take a third more of the processor."""
    path = require("chromium-headless-shell")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, timeout=DEADLINE_S * 1000)
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def visitor(browser, **options):
    """A page of a visitor without history. The visitor leaves at the end, also of a failed test.

    `options` are those of the browser's context, such as `java_script_enabled`. By default nothing moves on the page,
    because a browser without a graphics card draws each frame with the processor.
    """
    context = await browser.new_context(**{"reduced_motion": "reduce"} | options)
    context.set_default_timeout(DEADLINE_S * 1000)
    try:
        yield await context.new_page()
    finally:
        await context.close()


async def lands_at(page, url):
    """Wait until a page is at a URL, and loaded. A `*` at the end of the URL stands for any text.

    `page.wait_for_url` fails when a navigation before that is aborted, as that of a first click by a second one.
    """

    def is_there():
        return page.url.startswith(url[:-1]) if url.endswith("*") else page.url == url

    await wait_until(is_there, what=f"a page at {url}")
    await page.wait_for_load_state()


async def sign_in(page, url, token):
    """Sign in at the console of a URL, and wait for its page of waiting calls."""
    await page.goto(f"{url}/waiting")
    await page.fill("#token", token)
    await page.keyboard.press("Enter")
    await lands_at(page, f"{url}/waiting")


class Site:
    """HTTP server of `pages` (path: HTML) and `redirects` (path: URL).

    `requests` records (method, target, header fields in a dict).
    """

    def __init__(self):
        self.pages = {}
        self.redirects = {}
        self.requests = []
        self.origin = None
        self._connections = 0

    async def forget(self):
        """Forget the requests of visitors who have left, once their last request has arrived."""
        await wait_until(lambda: self._connections == 0, what="the end of the earlier visitors' connections")
        self.requests.clear()

    def visits(self):
        """Return the requests, except the browser's own requests for an icon."""
        return [request for request in self.requests if request[1] != "/favicon.ico"]

    async def answer(self, reader, writer):
        connection = h11.Connection(h11.SERVER)
        self._connections += 1
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(65536))
                elif isinstance(event, h11.Request):
                    writer.write(self._respond(connection, event))
                elif isinstance(event, h11.EndOfMessage):
                    await writer.drain()
                    break
                elif isinstance(event, h11.ConnectionClosed):
                    break
        finally:
            self._connections -= 1
            writer.close()

    def _respond(self, connection, request):
        target = request.target.decode()
        headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
        self.requests.append((request.method.decode(), target, headers))
        page, there = (each.get(urlsplit(target).path) for each in (self.pages, self.redirects))
        body = (page or "nothing here").encode()
        headers = [("content-type", "text/html; charset=utf-8"), ("content-length", str(len(body)))]
        if there:
            headers.append(("location", there))
        status = 302 if there else 404 if page is None else 200
        head = h11.Response(status_code=status, headers=[*headers, ("connection", "close")])
        parts = [head, h11.Data(data=body), h11.EndOfMessage()]
        return b"".join(connection.send(part) for part in parts)


@contextlib.asynccontextmanager
async def site(host):
    """Run a `Site` on a loopback address, 127.0.0.x.

    A separate address makes it another site to a browser, not only another origin.
    """
    it = Site()
    server = await asyncio.start_server(it.answer, host, 0)
    it.origin = f"http://{host}:{server.sockets[0].getsockname()[1]}"
    try:
        yield it
    finally:
        await stop_accepting(server)
        await server.wait_closed()
