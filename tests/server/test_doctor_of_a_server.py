"""The findings of `callback doctor` for real stores and files, each broken on purpose."""

import base64
import contextlib
import dataclasses
import functools
import hashlib
import resource
import time
from datetime import UTC, datetime, timedelta

import pytest
import redis
import trustme
from pydantic import ValidationError
from support.handler import handler_service
from support.http_handlers import HttpHandlerServer, http_activity
from support.store import StoreProcess, free_port, set_up
from support.tools import require
from support.wait import wait_until

from callback_process.findings import Level
from callback_server.operations import doctor
from callback_server.settings import ServerSettings
from callback_server.store import keys
from callback_server.store.connection.client import connect
from callback_server.store.engines import service_of
from callback_server.store.epochs.keeper import EpochKeeper
from callback_server.store.epochs.known import Epoch
from callback_server.store.queries.node_status import read_node_status

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def no_write_is_slow(limits):
    """Let a busy disk take its time: no test here is about slow writes."""
    limits(doctor, SLOW_WRITE_S=60)


async def found(look, **settings):
    """Return the findings of one check: level and text, by name."""
    return {
        each.check: (each.level, f"{each.seen}; {each.advice}".rstrip("; "))
        async for each in look(ServerSettings(**settings))
    }


# ---- The store ----


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_a_sound_store_gets_every_finding_and_is_not_changed(store_of, kind):
    store = store_of(kind)
    with set_up(store, maxmemory="1gb"):
        seen = await found(doctor.check_store, store_url=store.url)
    assert {level for level, _ in seen.values()} == {Level.OK}
    assert list(seen) == [
        "store", "store role", "store memory", "store disk", "store clock",
        "store settings", "store layout", "store epochs", "store losses",
        "store features", "store time", "store write",
    ]  # fmt: skip
    assert seen["store"][1].startswith(kind.capitalize())
    assert seen["store role"][1] == "a primary, with 0 replicas"
    assert seen["store layout"][1] == "nothing is stored yet"
    with redis.Redis(port=store.port) as client:
        assert client.dbsize() == 0


async def test_a_store_whose_settings_are_not_checked_is_a_warning(store_of):
    seen = await found(doctor.check_store, store_url=store_of().url, store_durability="unchecked")
    level, text = seen["store settings"]
    assert (level, text.endswith("see docs/operations.md, Managed stores")) == (Level.WARNING, True)


@pytest.mark.parametrize(
    ("says", "name", "level", "text"),
    [
        ({"os": "Amazon MemoryDB"}, "Amazon MemoryDB", Level.OK, "each write in its log"),
        ({"os": "Amazon ElastiCache"}, "Amazon ElastiCache", Level.WARNING, "durability sync"),
        ({"rlec_version": "7.22.0-28"}, "Redis Enterprise", Level.WARNING, "Azure Managed Redis"),
    ],
)
def test_a_managed_store_that_names_itself_gets_its_own_advice(says, name, level, text):
    """A store names itself in a field of INFO, as ElastiCache is known to do it in `os`."""
    assert service_of(says) == name
    finding = doctor.check_unchecked(frozenset([name]))
    assert (finding.level, text in f"{finding.seen}; {finding.advice}") == (level, True)


async def test_each_node_of_a_cluster_is_looked_at_by_its_name(store_of):
    store = store_of("valkey-cluster")
    seen = await found(doctor.check_store, store_url=store.url)
    assert {level for level, _ in seen.values()} == {Level.OK, Level.WARNING}
    assert seen[f"store memory 127.0.0.1:{store.port}"][1].endswith("because a rewrite of its file needs more")
    assert seen[f"store role 127.0.0.1:{store.port}"][1] == "a primary, with 0 replicas"


async def test_a_store_that_is_not_there_is_a_problem_and_the_rest_of_it_is_left_out():
    seen = await found(doctor.check_store, store_url=f"redis://:hunter2@127.0.0.1:{free_port()}")
    (level, text) = seen.pop("store")
    assert level is Level.PROBLEM
    assert text.startswith("redis://:***@127.0.0.1:")
    assert "Connection refused" in text or "Connect call failed" in text
    assert "hunter2" not in text
    assert not seen


async def test_the_password_of_the_store_may_be_in_a_file(store_of, tmp_path):
    store, file = store_of(), tmp_path / "password"
    with redis.Redis(port=store.port) as client:
        client.acl_setuser("app", enabled=True, passwords=["+p@ss/w:rd?é"], keys="*", channels="*", commands=["+@all"])
    asked = {"store_url": f"redis://app@127.0.0.1:{store.port}/0", "store_password_file": file}
    for content, level in (("p@ss/w:rd?é\n", Level.OK), ("wrong\n", Level.PROBLEM), ("\n", Level.PROBLEM)):
        file.write_text(content)
        file.chmod(0o600)
        seen = await found(doctor.check_store, **asked)
        assert level in {each for each, _ in seen.values()}
        assert Level.PROBLEM not in {each for each, _ in seen.values()} or level is Level.PROBLEM
        assert "refuses user or password" in str(seen) or content != "wrong\n"
        assert "wrong" not in str(seen)
    file.unlink()
    assert (await found(doctor.check_store, **asked))["store_password_file"][0] is Level.PROBLEM
    with pytest.raises(ValueError, match="exclude each other"):
        ServerSettings(store_url="redis://app:secret@127.0.0.1/0", store_password_file=file)


async def test_a_store_that_repeats_the_password_is_not_repeated(tmp_path):
    """The store repeats the command that it does not know, with its arguments. An old store does not know HELLO."""
    store = StoreProcess(tmp_path, settings=("--rename-command", "HELLO", ""))
    with contextlib.suppress(redis.ResponseError):  # the reply of this store
        store.start()
    try:
        seen = await found(doctor.check_store, store_url=f"redis://me:hunter2@127.0.0.1:{store.port}")
        level, text = seen["store"]
        assert (level, "unknown command 'HELLO'" in text) == (Level.PROBLEM, True)
        assert "hunter2" not in str(seen)
    finally:
        store.kill()


@pytest.mark.parametrize(
    "url", ["redis://:p@hunter2/word@127.0.0.1", "redis://hunter2/3@127.0.0.1", "redis://me:12?hunter2@127.0.0.1"]
)
def test_a_password_of_which_a_piece_would_be_the_host_is_refused_and_not_repeated(url):
    with pytest.raises(ValidationError) as refused:
        ServerSettings(store_url=url)
    (problem,) = refused.value.errors(include_input=False)
    assert "percent-encoded" in problem["msg"]
    assert "hunter2" not in problem["msg"]


async def test_a_database_that_is_not_there_is_a_problem(store_of):
    level, text = (await found(doctor.check_store, store_url=f"{store_of().url}/99"))["store"]
    assert (level, "DB index is out of range" in text) == (Level.PROBLEM, True)


async def test_an_unsafe_setting_of_the_store_is_a_problem_in_the_words_of_a_start(store_of):
    store, text = store_of(), "appendonly is no, so the store loses everything when it stops; set appendonly yes"
    with set_up(store, appendonly="no"):
        assert (await found(doctor.check_store, store_url=store.url))["store settings"] == (Level.PROBLEM, text)


async def test_a_store_without_the_epochs_that_the_server_knows_is_a_problem(store_of, tmp_path):
    store, file = store_of(), tmp_path / "epochs"

    async def seen():
        return (await found(doctor.check_store, store_url=store.url, store_epochs_file=file))["store epochs"]

    assert await seen() == (Level.OK, "none is known yet")
    keeper = EpochKeeper(file)
    for partition, number in ((1, 2), (2, 3), (3, 4), (4, 5)):
        keeper.epochs.remember(partition, Epoch(number, "ab", ""))
    keeper.close()
    with redis.Redis(port=store.port) as client:
        client.hset(keys.key(1, "epochs"), "2", "ab:17")
        client.hset(keys.key(2, "epochs"), "3", "cd:17")
        client.hset(keys.key(3, "epochs"), mapping={"5": "fd:17"})  # promoted since
        level, text = await seen()
        assert (level, text.partition(" of ")[0]) == (Level.PROBLEM, "2")
        assert "callback losses --accept" in text
        client.hset(keys.key(2, "epochs"), "4", "fd:17")
        client.hset(keys.key(4, "epochs"), "first", "6")
        assert await seen() == (Level.OK, "the store has everything that this server has seen")
    file.write_text("x")
    assert (await seen())[0] is Level.PROBLEM


@pytest.mark.parametrize(("ago", "level"), [(timedelta(hours=1), Level.WARNING), (timedelta(days=8), Level.OK)])
async def test_lost_steps_are_a_warning_for_a_week(store_of, ago, level):
    store, noticed = store_of(), datetime.now(UTC) - ago
    with redis.Redis(port=store.port) as client:
        client.hset(keys.key(3, "losses"), mapping={"5": "1:4:1763000000", "7": f"12:5:{noticed.timestamp():.0f}"})
        client.hset(keys.key(9, "losses"), "7", "2:5:1763000000")
        seen, text = (await found(doctor.check_store, store_url=store.url))["store losses"]
    assert (seen, text.partition(";")[0]) == (level, f"15 acknowledged steps lost, the last {noticed:%Y-%m-%d %H:%M}Z")


async def test_a_store_of_another_layout_is_a_problem(store_of):
    store = store_of()
    with redis.Redis(port=store.port) as client:
        client.set(keys.SCHEMA_KEY, "99:64")
        level, text = (await found(doctor.check_store, store_url=store.url))["store layout"]
        assert (level, "laid out as 99:64" in text) == (Level.PROBLEM, True)
        client.set(keys.SCHEMA_KEY, f"{keys.SCHEMA_VERSION}:{keys.PARTITIONS}")
        assert (await found(doctor.check_store, store_url=store.url))["store layout"][0] is Level.PROBLEM
        client.set(keys.NAMING_KEY, b"key")
        assert (await found(doctor.check_store, store_url=store.url))["store layout"][0] is Level.OK


async def test_a_store_that_is_nearly_full_is_warned_of(tmp_path):
    """The store is a new one: what earlier tests have deleted is freed later, so one in use could become emptier."""
    with StoreProcess(tmp_path) as store:
        with redis.Redis(port=store.port) as client:
            used = client.info("memory")["used_memory"]
        with set_up(store, maxmemory=used * 11 // 10):
            level, text = (await found(doctor.check_store, store_url=store.url))["store memory"]
    assert level is Level.WARNING
    assert "of maxmemory; when full, it refuses new callbacks; give it more" in text


async def test_a_replica_is_a_problem(store_of, tmp_path):
    primary = store_of()
    with StoreProcess(tmp_path) as replica:
        with redis.Redis(port=replica.port) as client:
            client.replicaof("127.0.0.1", primary.port)
            await wait_until(lambda: client.info("replication")["master_link_status"] == "up", what="the replica")
        seen = await found(doctor.check_store, store_url=replica.url)
        assert seen["store role"] == (
            Level.PROBLEM, "it is a replica, which accepts no writes; give its primary as store_url",
        )  # fmt: skip
        of_primary = await found(doctor.check_store, store_url=primary.url)
        assert of_primary["store role"][1] == "a primary, with 1 replicas"
        level, text = of_primary["store replicas"]
        assert (level, "set min-replicas-to-write 1 on every node" in text) == (Level.WARNING, True)


@contextlib.contextmanager
def limited(store, limit, value):
    """Run the body with the store under a limit of the operating system."""
    before = resource.prlimit(store.process.pid, limit)
    resource.prlimit(store.process.pid, limit, (value, before[1]))
    yield
    resource.prlimit(store.process.pid, limit, before)


async def test_a_store_that_cannot_write_its_file_is_a_problem(tmp_path):
    """As on a full disk: the file of the store cannot grow. With `appendfsync always` the store would exit at once."""
    with StoreProcess(tmp_path, fsync="everysec", wrapper=(require("env"), "--ignore-signal=XFSZ")) as store:
        with redis.Redis(port=store.port) as client, limited(store, resource.RLIMIT_FSIZE, 4096):
            client.set("a", b"x" * 10_000)
            await wait_until(
                lambda: client.info("persistence")["aof_last_write_status"] == "err", what="a write that failed"
            )
            seen = await found(doctor.check_store, store_url=store.url, store_durability="everysec")
        assert seen["store disk"] == (
            Level.PROBLEM,
            "its last write to the append-only file failed, so it accepts no writes; look at its disk and log",
        )
        level, text = seen["store write"]
        assert (level, "MISCONF" in text) == (Level.PROBLEM, True)


async def test_a_file_that_could_not_be_shortened_is_warned_of(tmp_path):
    with StoreProcess(tmp_path) as store:
        with redis.Redis(port=store.port) as client:
            client.set("a", "b")
            with limited(store, resource.RLIMIT_NOFILE, 8), contextlib.suppress(redis.ResponseError):
                client.bgrewriteaof()
                await wait_until(
                    lambda: client.info("persistence")["aof_last_bgrewrite_status"] == "err", what="a failed rewrite"
                )
        level, text = (await found(doctor.check_store, store_url=store.url))["store disk"]
        assert (level, "could not shorten" in text) == (Level.WARNING, True)


async def test_a_clock_that_is_off_is_warned_of_with_why_it_matters(store_of):
    client, began = connect(store_of().url), time.monotonic()
    (node,) = await read_node_status(client)
    took = time.monotonic() - began
    await client.aclose()
    assert abs(node.clock_ahead_s) < took + 0.1  # the same clock, read while the store was asked
    for ahead, word in ((1.5, "1.5 s ahead of"), (-90.0, "90.0 s behind")):
        finding = doctor.check_clock(dataclasses.replace(node, clock_ahead_s=ahead))
        assert finding.level is Level.WARNING
        assert finding.seen.startswith(f"{word} this machine's; leases and expiry go by the one")
        assert "deadlines" in finding.seen


# ---- Files ----


@pytest.mark.parametrize(("name", "more"), [("state_key_file", {}), ("other_state_key_file", {"state_key": "k" * 32})])
async def test_a_key_that_is_not_there_or_too_short_is_a_problem_and_one_for_all_to_read_is_warned_of(
    tmp_path, name, more
):
    file = tmp_path / "key"
    level, text = (await found(doctor.check_state_key, **{name: file} | more))[name]
    assert (level, text.partition(";")[0]) == (Level.PROBLEM, f"{file} cannot be read: No such file or directory")
    level, text = (await found(doctor.check_state_key, **{name: tmp_path} | more))[name]
    assert (level, text.partition(";")[0]) == (Level.PROBLEM, f"{tmp_path} cannot be read: Is a directory")
    file.write_bytes(b"k" * 32)
    file.chmod(0o604)
    assert (await found(doctor.check_state_key, **{name: file} | more))[name] == (
        Level.WARNING, f"everyone on this machine can read {file}; chmod o-r {file}",
    )  # fmt: skip
    file.chmod(0o600)
    assert (await found(doctor.check_state_key, **{name: file} | more))[name][0] is Level.OK
    file.write_bytes(b"hunter2")
    level, text = (await found(doctor.check_state_key, **{name: file} | more))[name]
    assert (level, "has 7 bytes, needs at least 32" in text) == (Level.PROBLEM, True)


async def test_a_keyring_that_cannot_be_used_is_a_problem_and_one_for_all_to_read_is_warned_of(tmp_path):
    file = tmp_path / "keyring.toml"
    assert await found(doctor.check_keyring) == {}
    level, text = (await found(doctor.check_keyring, keyring_file=file))["keyring_file"]
    assert (level, text.partition(";")[0]) == (Level.PROBLEM, f"{file} cannot be read: No such file or directory")
    key = base64.b64encode(b"k" * 32).decode()
    file.write_text(f'current = "b"\n[keys]\na = "{key}"\nb = "{key}"')
    file.chmod(0o604)
    assert (await found(doctor.check_keyring, keyring_file=file))["keyring_file"] == (
        Level.WARNING, f"everyone on this machine can read {file}; chmod o-r {file}",
    )  # fmt: skip
    file.chmod(0o600)
    assert (await found(doctor.check_keyring, keyring_file=file))["keyring_file"] == (
        Level.OK, "b seals; it opens what was sealed by a, b",
    )  # fmt: skip
    file.write_text('current = "hunter2"')
    level, text = (await found(doctor.check_keyring, keyring_file=file))["keyring_file"]
    assert (level, "keys: must be given" in text, "hunter2" in text) == (Level.PROBLEM, True, False)


async def test_the_certificate_its_key_and_the_authorities_of_clients_are_looked_at(tmp_path):
    authority = trustme.CA()
    made = authority.issue_cert(
        "callback.example", not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=1)
    )
    files = {name: tmp_path / name for name in ("cert", "key", "ca")}
    files["cert"].write_bytes(made.cert_chain_pems[0].bytes())
    files["key"].write_bytes(made.private_key_pem.bytes())
    files["key"].chmod(0o600)
    files["ca"].write_bytes(authority.cert_pem.bytes())
    seen = await found(
        doctor.check_certificates,
        tls_cert_file=files["cert"], tls_key_file=files["key"], tls_client_ca_file=files["ca"],
    )  # fmt: skip
    assert {name: level for name, (level, _) in seen.items()} == {
        "tls_key_file": Level.OK, "tls_cert_file": Level.PROBLEM, "tls_client_ca_file": Level.OK,
    }  # fmt: skip


async def test_plain_text_is_fine_on_loopback_and_warned_of_beyond():
    assert (await found(doctor.check_certificates))["tls"] == (
        Level.OK, "the gRPC port 127.0.0.1:50051 uses plain text",
    )  # fmt: skip
    beyond = {"grpc_bind": "0.0.0.0:50051", "allow_plaintext": True, "principals_file": "/etc/principals.toml"}
    assert (await found(doctor.check_certificates, **beyond))["tls"] == (
        Level.WARNING,
        "the gRPC port 0.0.0.0:50051 uses plain text: tokens can be read on the network; "
        "set tls_cert_file, unless a mesh encrypts",
    )


# ---- Principals ----


def token(text, expires=None):
    entry = f'[[principals.NAME.tokens]]\nsha256 = "{hashlib.sha256(text.encode()).hexdigest()}"\n'
    return entry + (f"expires = {expires.isoformat()}\n" if expires else "")


@pytest.fixture
def principals(tmp_path):
    """Write a principals file. Each value follows the name of its principal."""

    def write(**entries):
        file = tmp_path / "principals.toml"
        file.write_text(
            "\n".join(f"[principals.{name}]\n{text}".replace("NAME", name) for name, text in entries.items())
        )
        return file

    return write


OWNER, EDGE = f'roles = ["owner"]\n{token("b")}', f'roles = ["edge"]\n{token("a")}'
ENDED, ENDING = NOW - timedelta(days=1), NOW + timedelta(days=29)
PROVES_NOTHING = "it has no valid token, subject or certificate"


@pytest.mark.parametrize(
    ("entries", "check", "level", "text"),
    [
        ({"edge": EDGE, "orders": OWNER}, "principals", Level.OK, "{file}: edge, orders"),
        ({"edge": EDGE + token("c", ENDED)}, "principal edge", Level.WARNING, f"a token of it expired on {ENDED:%F}"),
        ({"edge": EDGE + token("c", ENDING)}, "principal edge", Level.WARNING, f"a token of it expires on {ENDING:%F}"),
        ({"edge": 'roles = ["edge"]'}, "principal edge", Level.WARNING, PROVES_NOTHING),
        ({"edge": f'roles = ["edge"]\n{token("a", ENDED)}'}, "principal edge", Level.WARNING, PROVES_NOTHING),
        ({"edge": f'certificates = ["spiffe://x/edge"]\n{EDGE}'}, "principal edge", Level.WARNING,
         "its certificates have no effect: clients are not asked for one; set tls_client_ca_file"),
        ({"orders": OWNER}, "principals", Level.PROBLEM,
         "no principal has the role edge, so no call is accepted; callback token edge --role edge"),
        ({"edge": 'roles = ["king"]'}, "principals", Level.PROBLEM, "{file}"),
    ],
)  # fmt: skip
async def test_principals_have_their_findings(principals, entries, check, level, text):
    settings = ServerSettings(principals_file=principals(**entries))
    findings = [each async for each in doctor.check_principals(settings)]
    first = next(each for each in findings if (each.check, each.level) == (check, level))
    assert f"{first.seen}; {first.advice}".startswith(text.format(file=settings.principals_file))


async def test_a_retention_of_years_is_warned_of():
    assert await found(doctor.check_retention, retention_s=366 * 86_400) == {}
    level, text = (await found(doctor.check_retention, retention_s=3650 * 86_400))["retention_s"]
    assert (level, "are kept for 3650 days; shorten it" in text) == (Level.WARNING, True)


async def test_without_principals_it_is_said_that_everyone_may_do_everything():
    level, text = (await found(doctor.check_principals))["principals"]
    assert (level, "every client that reaches 127.0.0.1:50051 may do everything" in text) == (Level.OK, True)


async def test_a_principals_file_that_is_wrong_or_writable_by_others_is_a_finding(principals, tmp_path):
    file = principals(edge=f'roles = ["edge"]\n{token("a")}')
    file.chmod(0o646)
    level, text = (await found(doctor.check_principals, principals_file=file))["principals"]
    assert (level, text) == (Level.PROBLEM, f"every user of this machine can change {file}; chmod o-w {file}")
    file.chmod(0o664)
    assert (await found(doctor.check_principals, principals_file=file))["principals"] == (
        Level.WARNING, f"its group can change {file}, and so grant access; chmod g-w {file}",
    )  # fmt: skip
    level, text = (await found(doctor.check_principals, principals_file=tmp_path / "none"))["principals"]
    assert (level, "No such file" in text) == (Level.PROBLEM, True)


async def test_a_profile_that_only_reports_is_named_with_the_age_of_the_settings(tmp_path):
    profile = {"kind": "basic", "username": "u", "secret_files": [tmp_path / "s"], "enforce": False}

    async def seen(days, **changes):
        changed = days and NOW.timestamp() - days * 24 * 3600
        return await found(
            functools.partial(doctor.check_report_only, changed=changed), profiles={"x": profile | changes}
        )

    for days in (None, 0.5):
        assert "it only reports, for an unknown time" in (await seen(days))["profiles.x"][1]
    level, text = (await seen(3.5))["profiles.x"]
    assert (level, "it only reports, for at least 3 days" in text) == (Level.WARNING, True)
    assert await seen(3.5, enforce=True) == {}


async def test_each_profile_is_made_from_its_files_or_has_a_finding(tmp_path):
    file, keys = tmp_path / "secret", tmp_path / "keys"
    partner = {"kind": "standard-webhooks", "secret_files": [file]}
    token = {"kind": "jwt", "algorithms": ["RS256"], "issuer": "i", "audience": "a", "key_files": [keys]}

    async def seen(profile):
        return await found(doctor.check_profiles, profiles={"x": profile})

    assert (await seen(partner))["profiles.x.secret_files[0]"][0] is Level.PROBLEM
    file.write_text("hunter2")
    file.chmod(0o600)
    level, text = (await seen(partner))["profiles.x"]
    assert (level, "starts with neither whsec_ nor whpk_; correct the file" in text) == (Level.PROBLEM, True)
    file.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert (await seen(partner))["profiles.x"] == (Level.OK, "standard-webhooks can verify")
    file.chmod(0o604)
    assert (await seen(partner))["profiles.x.secret_files[0]"][0] is Level.WARNING

    file.chmod(0o600)
    old = {"kind": "hmac", "signature": "header:x-sign", "algorithm": "sha1", "secret_files": [file]}
    assert (await seen(old))["profiles.x"][0] is Level.WARNING
    assert (await seen({"kind": "provider:github", "secret_files": [file]}))["profiles.x"][0] is Level.OK

    assert (await seen(token))["profiles.x.key_files[0]"][0] is Level.PROBLEM
    keys.write_text("{}")  # a public key is not secret, so every user may read it
    keys.chmod(0o604)
    assert [(name, level) for name, (level, _) in (await seen(token)).items()] == [("profiles.x", Level.PROBLEM)]


async def test_a_profile_whose_keys_cannot_be_fetched_is_a_problem_and_one_whose_messages_name_them_is_not():
    token = {"kind": "jwt", "algorithms": ["RS256"], "issuer": "i", "audience": "a"}
    given = {
        "x": token | {"jwks_url": "https://identity.example/keys"},
        "sns": {"kind": "provider:aws-sns"},
        "paypal": {"kind": "provider:paypal", "receiver_id": "WH1"},
    }
    seen = await found(doctor.check_profiles, profiles=given, key_proxy=f"http://127.0.0.1:{free_port()}")
    level, text = seen["profiles.x"]
    assert level is Level.PROBLEM
    assert text.startswith("its keys cannot be fetched: https://identity.example/keys: ")
    assert "until then senders get a 503" in text
    assert seen["profiles.sns"][0] is Level.WARNING
    assert "SHA-1" in seen["profiles.sns"][1]
    assert seen["profiles.paypal"] == (Level.OK, "provider:paypal can verify")


# ---- Handlers ----


async def test_each_handler_is_reached_or_has_a_finding():
    async with handler_service("order-paid") as service:
        target = service.config.split('"')[1]
        port = free_port()
        seen = await found(
            doctor.check_handlers,
            activities={
                "order-paid": {"target": target, "connect_timeout_s": 60},
                "lost": {"target": f"127.0.0.1:{port}", "connect_timeout_s": 60},
            },
        )
    assert seen["activities.order-paid"] == (Level.OK, f"{target} can be reached")
    level, text = seen["activities.lost"]
    assert level is Level.PROBLEM
    assert text.startswith(f"127.0.0.1:{port} cannot be reached: ")
    assert "Connection refused" in text


async def test_an_http_handler_is_reached_without_a_request_or_has_a_finding(tmp_path):
    async with HttpHandlerServer() as server:
        lost, hidden = f"http://127.0.0.1:{free_port()}/hook", "https://127.0.0.1/hook?code=hunter2"
        seen = await found(
            doctor.check_handlers,
            activities={
                name: http_activity(target, tmp_path).model_dump()
                for name, target in (("paid", server.url), ("lost", lost), ("hidden", hidden))
            }
            | {"keyless": {"target": server.url, "http": {"secret_files": [tmp_path / "none"]}}},
        )
    assert server.requests == []
    assert seen["activities.paid"] == (Level.OK, f"{server.url} can be reached")
    assert seen["activities.lost"][0] is Level.PROBLEM
    assert seen["activities.lost"][1].startswith(f"{lost} cannot be reached: 127.0.0.1: Connect")
    assert seen["activities.hidden"][0] is Level.PROBLEM
    assert "hunter2" not in seen["activities.hidden"][1]
    assert seen["activities.keyless"][0] is Level.PROBLEM


async def test_a_handler_that_speaks_no_tls_is_not_reached_over_it(tmp_path):
    ca = tmp_path / "ca.pem"
    ca.write_bytes(trustme.CA().cert_pem.bytes())
    async with handler_service("order-paid") as service:
        target = service.config.split('"')[1]
        seen = await found(doctor.check_handlers, activities={"order-paid": {"target": target, "tls": {"ca_file": ca}}})
        assert seen["activities.order-paid.tls.ca_file"][0] is Level.OK
        assert seen["activities.order-paid"][0] is Level.PROBLEM
        lost = {"ca_file": tmp_path / "none"}
        seen = await found(doctor.check_handlers, activities={"order-paid": {"target": target, "tls": lost}})
        assert {level for level, _ in seen.values()} == {Level.PROBLEM}


# ---- All checks ----


async def test_wrong_settings_are_listed_and_no_other_check_runs(tmp_path):
    file = tmp_path / "callback.toml"
    file.write_text('[server]\ngrace_s = "long"\ncolour = "red"\n')
    said = [each async for each in doctor.diagnose(file)]
    assert {(each.check, each.level) for each in said} == {("server settings", Level.PROBLEM)}
    assert len(said) == 2


async def test_a_settings_file_with_a_secret_that_everyone_can_read_is_warned_of(tmp_path):
    file = tmp_path / "callback.toml"
    file.write_text(f'[server]\nstore_url = "redis://:hunter2@127.0.0.1:{free_port()}"\n')
    file.chmod(0o644)
    said = {each.check: each async for each in doctor.diagnose(file)}
    assert said["server settings"].level is Level.OK
    assert said["server settings file"].level is Level.WARNING
    assert said["server settings file"].advice == f"chmod o-r {file}"
    file.write_text("[server]\ngrace_s = 1\n")
    assert "server settings file" not in {each.check async for each in doctor.diagnose(file)}
