"""Files of verification profiles, read by a running server."""

import asyncio

import httpx
from support.store import free_port
from support.system import Process
from support.wait import wait_until


async def test_a_server_reloads_the_files(store_of, tmp_path):
    file, config = tmp_path / "secret", tmp_path / "callback.toml"
    file.write_text("hunter2")
    config.write_text(
        f'[server]\nstore_url = "{store_of().url}"\ngrpc_bind = "127.0.0.1:{free_port()}"\n'
        f'admin_bind = "127.0.0.1:0"\ndrain_s = 0\n'
        f'[profiles.partner]\nkind = "github"\nsecret_files = ["{file}"]\n'
    )
    server = Process("callback_server", tmp_path / "log", CALLBACK_CONFIG=str(config))
    await asyncio.to_thread(server.start)
    try:
        file.write_text("")
        (event,) = await wait_until(lambda: server.events("profile_not_read"))
        assert event["profile"] == "partner"
        assert event["problem"] == f"profiles.partner.secret_files[0] {file}: is empty"
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"http://{server.facts['admin']}/metrics")).text
        assert 'callback_reloads_failed_total{file="profile"} 1.0' in text
        file.write_text("other")
        await wait_until(lambda: server.events("profile_read"))
    finally:
        assert server.stop() == 0
    assert "hunter2" not in server.log.read_text()
