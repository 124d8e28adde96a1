"""Live pages of the console with the same token share a watch of the server, and what a view renders."""

import asyncio
import contextlib
import time

import grpc
import pytest
from support.clients import CASE
from support.wait import wait_until

from callback import AsyncCallbackClient, NotFoundError
from callback_console import shared_watch
from callback_console.sessions import Identity, Sessions


class Watch:
    """A watch of a server that says what a test puts into `said`: whether there are events, or an error."""

    def __init__(self):
        self.said = asyncio.Queue()
        self.is_closed = False

    async def __aenter__(self):
        if isinstance(said := await self.said.get(), Exception):
            raise said

    async def __aexit__(self, *_error):
        self.is_closed = True

    async def receive(self):
        if isinstance(said := await self.said.get(), Exception):
            raise said
        return ["event"] if said else []


class Server:
    """A client of a server with such watches. `watches` are all of them."""

    def __init__(self):
        self.watches = []

    def watch_calls(self, *, case_id, latest_only):
        assert (case_id, latest_only) == (CASE, True)
        self.watches.append(Watch())
        return self.watches[-1]


@pytest.fixture
async def identity(limits):
    limits(shared_watch, PART_S=3600, PARTS_PER_S=1e6)
    made = Identity("token", Server())
    yield made
    assert made.watches == {}


async def test_pages_share_a_watch_that_ends_with_the_last_one(identity):
    with contextlib.ExitStack() as second_leaves, contextlib.ExitStack() as first_leaves:
        first = first_leaves.enter_context(identity.live_page(CASE))
        second = second_leaves.enter_context(identity.live_page(CASE))
        (watch,) = identity.client.watches
        for said in (True, True, False):  # the first is the start of the watch
            watch.said.put_nowait(said)
            assert [await first.receive(), await second.receive()] == [said, said]
        with identity.live_page(CASE) as third:
            assert await third.receive()  # for what changed before
        first_leaves.close()
        watch.said.put_nowait(True)
        assert await second.receive()
        second_leaves.close()
        assert identity.watches == {}
        await wait_until(lambda: watch.is_closed, what="the end of the watch")
    with identity.live_page(CASE):
        assert len(identity.client.watches) == 2


async def test_a_page_that_is_slow_is_told_once_of_all_changes(identity):
    with identity.live_page(CASE) as slow, identity.live_page(CASE) as page:
        (watch,) = identity.client.watches
        for said in (True, True, False):
            watch.said.put_nowait(said)
            assert await page.receive() == said
        assert await slow.receive()
        watch.said.put_nowait(False)
        assert await slow.receive() is False


@pytest.mark.parametrize("at", [0, 1])
async def test_an_error_of_the_server_ends_the_pages(identity, at):
    with identity.live_page(CASE) as first, identity.live_page(CASE) as second:
        (watch,) = identity.client.watches
        for _ in range(at):
            watch.said.put_nowait(True)
            assert await first.receive()
        watch.said.put_nowait(NotFoundError("gone", code=grpc.StatusCode.NOT_FOUND))
        while (said := await second.receive()) is not None:
            assert said
        assert await first.receive() is None


class View:
    """A view whose `count`-th page a test finishes."""

    def __init__(self):
        self.pages = []

    async def render(self):
        self.pages.append(asyncio.get_running_loop().create_future())
        return await self.pages[-1]


async def test_a_part_is_rendered_once_after_a_change_for_all_who_ask(identity):
    view = View()
    with identity.live_page(CASE) as page:
        watch = identity.watches[CASE]
        identity.client.watches[0].said.put_nowait(True)
        assert await page.receive()
        leaver, *others = [asyncio.create_task(watch.part("a", view.render)) for _ in range(3)]
        other = asyncio.create_task(watch.part("b", view.render))
        await asyncio.sleep(0)  # they begin
        await asyncio.sleep(0)  # what they render begins
        leaver.cancel()
        identity.client.watches[0].said.put_nowait(True)
        assert await page.receive()
        again = asyncio.create_task(watch.part("a", view.render))
        await wait_until(lambda: len(view.pages) == 3, what="the part after the change")
        for number, text in enumerate(("first", "of b", "second"), 0):
            view.pages[number].set_result(text)
        assert [*await asyncio.gather(*others), await other, await again] == ["first", "first", "of b", "second"]


class Turns:
    """A limiter whose turns come when a test puts them into `given`."""

    def __init__(self):
        self.given = asyncio.Queue()

    async def turn(self, _key):
        await self.given.get()


async def test_a_part_waits_for_its_turn_once_for_all_who_ask_and_has_what_changed_meanwhile(identity):
    identity.limiter, view = Turns(), View()
    with identity.live_page(CASE) as page:
        watch = identity.watches[CASE]
        first = asyncio.create_task(watch.part("a", view.render))
        await asyncio.sleep(0)
        identity.client.watches[0].said.put_nowait(True)
        assert await page.receive()
        second = asyncio.create_task(watch.part("a", view.render))
        for _ in range(2):
            identity.limiter.given.put_nowait(None)
        await wait_until(lambda: len(view.pages) == 1, what="its turn")
        view.pages[0].set_result("new")
        assert [await first, await second] == ["new", "new"]
        identity.client.watches[0].said.put_nowait(True)
        assert await page.receive()
        third = asyncio.create_task(watch.part("a", view.render))
        await wait_until(lambda: len(view.pages) == 2, what="its next turn")
        view.pages[1].set_result("newer")
        assert await third == "newer"


async def test_the_more_parts_of_all_people_change_the_less_often_each_has_its_turn(limits):
    limits(shared_watch, PARTS_PER_S=4)
    sessions = Sessions(lifetime_s=60)
    keys = [await sessions.open(each, AsyncCallbackClient("127.0.0.1:1", token=each)) for each in ("one", "other")]
    one, other = (sessions.find(key).identity.limiter for key in keys)
    began = time.monotonic()
    for limiter, key in ((one, "a"), (other, "b"), (one, "shown once")):
        with pytest.raises(StopIteration):  # it has not waited
            limiter.turn(key).send(None)
    await other.turn("b")
    assert time.monotonic() - began >= 0.24
    await one.turn("a")  # one of two that change
    assert time.monotonic() - began >= 0.49
    await sessions.close_all()


async def test_what_a_view_raises_reaches_all_who_ask(identity):
    view = View()
    with identity.live_page(CASE):
        readers = [asyncio.create_task(identity.watches[CASE].part("a", view.render)) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        view.pages[0].set_exception(ValueError("no"))
        assert [str(each) for each in await asyncio.gather(*readers, return_exceptions=True)] == ["no", "no"]
        await asyncio.sleep(0)
