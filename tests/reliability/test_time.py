"""Retention: data past it is deleted without a request."""

from datetime import timedelta

import pytest
import redis.asyncio
from support.system import running_server, running_system
from support.wait import wait_until

from callback import CallbackStatus, NotFoundError, Response


async def test_data_past_its_retention_is_deleted_completely(tmp_path, store):
    """Only a case that may still have to answer a repeat of its call is kept."""
    async with running_system(tmp_path, store) as system, redis.asyncio.Redis(port=store.port) as client:
        consumed = await system.client.generate_callback_url("record", Response("ok"), repeat_window=timedelta(0))
        repeated = await system.client.generate_callback_url("record", Response("ok"))
        closed = await system.client.generate_callback_url("record", Response("ok"))
        multiple = await system.client.generate_callback_url("record", Response("ok"), allow_multiple_calls=True)
        for case in (consumed, repeated, multiple, multiple):
            assert (await system.http.get(case.url)).status_code == 200
        await system.client.close_callback(closed.case_id)

        async def keys_of(case):
            found = [key async for key in client.scan_iter(f"*{case.case_id}*")]
            # The data for answering a repeated message expires by itself after some minutes.
            return [key for key in found if not 0 < await client.ttl(key) <= 330]

        async def forgotten():
            calls = (await system.client.list_calls_page(multiple.case_id)).items
            return not (calls or await keys_of(consumed) or await keys_of(closed))

        async with running_server(store, tmp_path / "forgetful.log", CALLBACK_RETENTION_S="0"):
            await wait_until(forgotten, what="the end of what is kept")
        for case in (consumed, closed):
            assert (await system.http.get(case.url)).status_code == 404
            with pytest.raises(NotFoundError):
                await system.client.get_callback(case.case_id)
        kept = await system.client.get_callback(multiple.case_id)
        assert (kept.status, kept.call_count) == (CallbackStatus.OPEN, 2)
        listed = {case.case_id for case in (await system.client.list_callbacks_page()).items}
        assert listed == {repeated.case_id, multiple.case_id}
        assert (await system.http.get(repeated.url)).text == "ok"
        assert (await system.http.get(multiple.url)).status_code == 200
