"""A store that can lose data is refused at the start, with a message that names the setting to change."""

import asyncio
import signal

import pytest
import redis
from support.store import StoreProcess, free_port, set_up
from support.system import Process
from support.wait import wait_until

from callback_launcher.errors import LaunchError
from callback_process.entry_point import StartError
from callback_server.control_plane import ControlPlane
from callback_server.settings import ServerSettings
from callback_server.store import health, keys
from callback_server.store.connection.client import connect
from callback_server.store.engines import engine_problems, read_server_info
from callback_server.store.safety import Durability, UnsafeStoreError, check_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with StoreProcess(tmp_path_factory.mktemp("store")) as process:
        yield process


@pytest.fixture
def server(tmp_path, store):
    """Return a function that makes a server on the store and does not start it."""
    made = []

    def make(**environment):
        common = {
            "CALLBACK_STORE_URL": store.url,
            "CALLBACK_GRPC_BIND": f"127.0.0.1:{free_port()}",
            "CALLBACK_ADMIN_BIND": "127.0.0.1:0",
        }
        made.append(Process("callback_server", tmp_path / "server.log", **(common | environment)))
        return made[-1]

    yield make
    for process in made:
        process.kill()


async def refusal(server):
    """Start a server that must refuse its store, and return its output after it exits with 1."""
    with pytest.raises(LaunchError):  # the server ended before it was ready
        await asyncio.to_thread(server.start)
    assert await asyncio.to_thread(server.process.wait, 60) == 1
    (line,) = [line for line in server.log.read_text().splitlines() if not line.startswith("{")]
    return line


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"appendonly": "no"}, "appendonly is no, so the store loses everything when it stops; set appendonly yes"),
        (
            {"appendfsync": "everysec"},
            "appendfsync is everysec, so a power loss loses acknowledged calls; set appendfsync always, "
            "or accept that with store_durability everysec",
        ),
        ({"appendfsync": "no"}, "appendfsync is no, so a power loss loses acknowledged calls; set appendfsync always"),
        (
            {"no_appendfsync_on_rewrite": "yes"},
            "no-appendfsync-on-rewrite is yes, so nothing is on disk while the file is rewritten; "
            "set no-appendfsync-on-rewrite no",
        ),
        (
            {"maxmemory_policy": "allkeys-lru"},
            "maxmemory-policy is allkeys-lru, so a full store deletes cases; set maxmemory-policy noeviction",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
async def test_an_unsafe_setting_is_refused_with_its_name_and_its_cure(store, settings, text):
    with set_up(store, **settings), pytest.raises(UnsafeStoreError) as refused:
        await checked(store.url, Durability.parse("always"))
    assert str(refused.value).startswith(text)
    await checked(store.url, Durability.parse("always"))  # and this was the only problem


async def test_a_server_does_not_start_on_an_unsafe_store_and_says_all_that_is_wrong_at_once(store, server):
    with set_up(store, appendfsync="no", maxmemory_policy="volatile-ttl"):
        said = await refusal(server())
    assert said.startswith("callback server: the store is not safe: appendfsync is no")
    assert "maxmemory-policy is volatile-ttl" in said


async def test_an_unsafe_cluster_is_refused_like_a_store_alone(store_of):
    cluster = store_of("valkey-cluster")
    with set_up(cluster, appendfsync="everysec"), pytest.raises(UnsafeStoreError, match="appendfsync is everysec"):
        await checked(cluster.url, Durability.parse("always"))
    await checked(cluster.url, Durability.parse("always"))


async def checked(url, durability):
    """Check a store as the server does at its start."""
    client = connect(url)
    try:
        await check_store(client, durability)
    finally:
        await client.aclose()


async def test_everysec_is_accepted_if_configured_and_no_sync_never(store):
    with set_up(store, appendfsync="everysec"):
        await checked(store.url, Durability.parse("everysec"))
    with set_up(store, appendfsync="no"), pytest.raises(UnsafeStoreError, match="appendfsync is no"):
        await checked(store.url, Durability.parse("everysec"))


@pytest.fixture
def version_five(limits):
    """Set the schema version of this process to 5, so that earlier and later versions exist."""
    limits(keys, SCHEMA_VERSION=5)


@pytest.mark.parametrize(("stored", "then"), [(None, 5), (4, 5), (5, 5), (6, 6)])
@pytest.mark.usefixtures("version_five")
async def test_a_start_raises_the_schema_version_of_the_release_before_and_never_lowers_one(store, stored, then):
    with redis.Redis(port=store.port) as client:
        client.flushall()
        if stored is not None:
            client.set(keys.SCHEMA_KEY, f"{stored}:{keys.PARTITIONS}")
            client.set(keys.NAMING_KEY, b"key")
        await checked(store.url, Durability.parse("always"))
        assert client.get(keys.SCHEMA_KEY).decode() == f"{then}:{keys.PARTITIONS}"
        client.delete(keys.SCHEMA_KEY)


@pytest.mark.parametrize(
    ("stored", "advice"),
    [
        (f"7:{keys.PARTITIONS}", "use the release that raised it, or the one before that"),
        (f"3:{keys.PARTITIONS}", "run the releases between first, one after the other"),
        (f"5:{keys.PARTITIONS * 2}", "use another store"),
        (f"4:{keys.PARTITIONS * 2}", "use another store"),
        (f"0:{keys.PARTITIONS}", "use another store"),
        ("another program's", "use another store"),
    ],
)
@pytest.mark.usefixtures("version_five")
async def test_every_other_layout_is_refused_with_advice(store, stored, advice):
    with redis.Redis(port=store.port) as client:
        client.set(keys.SCHEMA_KEY, stored)
        with pytest.raises(UnsafeStoreError) as refused:
            await checked(store.url, Durability.parse("always"))
        assert str(refused.value) == (
            f"the store is laid out as {stored} (version:partitions) and this release works with "
            f"4 to 6:{keys.PARTITIONS}; {advice}"
        )
        assert client.get(keys.SCHEMA_KEY).decode() == stored
        client.delete(keys.SCHEMA_KEY)


@pytest.mark.parametrize("version", [keys.SCHEMA_VERSION, keys.SCHEMA_VERSION + 1])
async def test_a_store_from_before_the_versions_began_at_1_is_refused_and_left_as_it_is(store_of, version):
    store, stored = store_of(), f"{version}:{keys.PARTITIONS}"
    with redis.Redis(port=store.port) as client:
        client.set(keys.SCHEMA_KEY, stored)
        with pytest.raises(UnsafeStoreError, match=f"as {stored} of an earlier numbering.*; use another store"):
            await checked(store.url, Durability.parse("always"))
        assert client.keys() == [keys.SCHEMA_KEY.encode()]


async def test_a_store_that_hides_its_settings_needs_the_operators_word(store):
    with redis.Redis(port=store.port) as client:
        client.execute_command("ACL SETUSER", "guest", "on", ">secret-word", "~*", "&*", "+@all", "-config")
    url = f"redis://guest:secret-word@127.0.0.1:{store.port}"
    with pytest.raises(UnsafeStoreError) as refused:
        await checked(url, Durability.parse("always"))
    assert "the store hides its settings" in str(refused.value)
    assert "set store_durability to unchecked" in str(refused.value)
    assert "secret-word" not in str(refused.value)
    await checked(url, Durability.parse("unchecked"))


async def test_a_server_that_waits_for_its_store_can_be_stopped(server):
    waiting = server(CALLBACK_STORE_URL=f"redis://127.0.0.1:{free_port()}")
    starting = asyncio.create_task(asyncio.to_thread(waiting.start))
    await wait_until(lambda: waiting.process and waiting.events("waiting_for_store"), what="a server that waits")
    waiting.signal(signal.SIGTERM)
    with pytest.raises(LaunchError):  # the server ended before it was ready
        await starting
    assert await asyncio.to_thread(waiting.process.wait, 60) == 0


async def test_the_wait_for_an_unreachable_store_ends(limits):
    limits(health, START_WAIT_S=0.2)
    settings = ServerSettings(store_url=f"redis://127.0.0.1:{free_port()}")
    with pytest.raises(StartError, match="the store cannot be reached: "):
        async with ControlPlane(settings):
            pass


async def test_a_store_that_comes_late_is_found(tmp_path, server):
    home = tmp_path / "late"
    home.mkdir()
    late = StoreProcess(home)
    waiting = server(CALLBACK_STORE_URL=late.url)
    starting = asyncio.create_task(asyncio.to_thread(waiting.start))
    try:
        await wait_until(lambda: waiting.process and waiting.events("waiting_for_store"), what="a server that waits")
        await asyncio.to_thread(late.start)
        await starting
    finally:
        waiting.stop()
        late.stop()


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"redis_version": "6.2.14"}, ["Redis 6.2.14 is too old; use 7.0 or newer"]),
        ({"redis_version": "7.0.0"}, []),
        ({"redis_version": "10.0.1"}, []),
        # Valkey reports Redis 7.2.4 to clients that do not know Valkey.
        ({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "7.1.0"},
         ["Valkey 7.1.0 is too old; use 7.2 or newer"]),
        ({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "7.2.5"}, []),
        ({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "9.1.2"}, []),
    ],
)  # fmt: skip
def test_a_version_that_is_too_old_is_named(info, said):
    assert engine_problems(info) == said


@pytest.mark.parametrize(
    ("info", "said"),
    [
        # As their sources write them: see `engines`.
        ("redis_version:7.4.0\r\ndragonfly_version:df-v1.37.0\r\nredis_mode:standalone",
         "the store is Dragonfly: it has no append-only file, so a stop loses acknowledged calls"),
        ("garnet_version:1.1.9\r\nos:Unix 6.1.0.0\r\nredis_version:7.4.3",
         "the store is Garnet: it has no streams and no WAITAOF, which callbacks and their durability need"),
        ("version:2.10.0\r\nkvrocks_version:2.10.0\r\nredis_version:4.0.0",
         "the store is Kvrocks: it has no append-only file, and by default a power loss loses acknowledged calls"),
        ("redis_version:6.3.4\r\nredis_mode:standalone\r\nexecutable:/usr/bin/keydb-server",
         "the store is KeyDB: it is a fork of Redis 6, without what scripts and durability need of Redis 7"),
    ],
    ids=["dragonfly", "garnet", "kvrocks", "keydb"],
)  # fmt: skip
async def test_an_engine_that_cannot_keep_the_promises_is_refused_by_name(info, said):
    async def ask(_command, section):
        assert section == "server" or "redis_version:6" in info
        return dict(line.split(":", 1) for line in (info if section == "server" else "mvcc_depth:0").split("\r\n"))

    assert engine_problems(await read_server_info(ask)) == [f"{said}; use Valkey or Redis"]


async def test_a_store_that_refuses_user_or_password_is_not_waited_for(server, store):
    url = f"redis://somebody:hunter2@127.0.0.1:{store.port}"
    said = await refusal(server(CALLBACK_STORE_URL=url))
    assert said.startswith("callback server: the store is not safe: it refuses user or password of store_url")
    assert "hunter2" not in said


async def test_a_missing_database_is_an_error(store):
    with pytest.raises(StartError, match="it refuses a command: DB index is out of range"):
        async with ControlPlane(ServerSettings(store_url=f"{store.url}/99")):
            pass
