"""The principals file: its content, the addition of tokens, and that it is read again when it changes."""

import contextlib
import errno
import hashlib
import math
import os
import re
import tomllib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from support.wait import wait_until

from callback_process.settings import SettingsError
from callback_process.tasks import TaskSet
from callback_server.access import principals as module
from callback_server.access.principals import PrincipalsFile, read_principals
from callback_server.access.roles import Role
from callback_server.access.tokens import add_token, new_token, token_entry, token_toml
from callback_server.errors import RevokedError, SubjectUnknownError, UnauthenticatedError

TOKEN = new_token()
SHA256 = hashlib.sha256(TOKEN.encode()).hexdigest()

WRITTEN = f"""# Who may do what. Ask the platform team before you change it.

[principals.orders]   # the shop
roles = ["owner"]
certificates = ["spiffe://shop.example/orders", "orders.shop.example"]

[[principals.orders.tokens]]
sha256 = "{SHA256}"   # of the pipeline
created = 2026-11-25T10:00:00Z

[principals.edge]
roles = ["edge"]
# no token: by certificate only
certificates = ["edge.shop.example"]
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "principals.toml"


def known(path, text):
    path.write_text(text)
    return read_principals(path)


def of(token, path):
    return read_principals(path).of_token(token)


def test_principals_are_found_by_the_subject_of_an_issuer(path):
    subjects = [("https://login.example", "1"), ("https://login.example", "a"), ("https://ci.example", "1")]
    lines = [
        f'[[principals.{name}.subjects]]\nissuer = "{issuer}"\nsubject = "{subject}"\n'
        for name, (issuer, subject) in zip(("orders", "orders", "edge"), subjects, strict=True)
    ]
    text = WRITTEN + "".join(lines)
    principals = known(path, text)
    assert [principals.of_subject(*each).name for each in subjects] == ["orders", "orders", "edge"]
    for each in (
        ("https://ci.example", "a"),
        ("https://login.example/", "1"),
        ("https://login.example", "A"),
        ("", "1"),
    ):
        with pytest.raises(SubjectUnknownError, match="no principal has the subject"):
            principals.of_subject(*each)
    with pytest.raises(SettingsError, match=r"principals\.edge: the subject 1 of https://ci\.example is listed twice"):
        known(path, text + lines[2].replace("edge", "orders"))


def test_principals_are_found_by_token_and_by_certificate(path):
    principals = known(path, WRITTEN)
    assert (principals.of_token(TOKEN).name, principals.of_token(TOKEN).roles) == ("orders", {Role.OWNER})
    assert principals.of_certificate(["edge.shop.example"]).name == "edge"
    assert principals.of_certificate(["other.example", "spiffe://shop.example/orders"]).name == "orders"
    assert principals.of_certificate(["orders.shop.example", "spiffe://shop.example/orders"]).name == "orders"
    for token in ("", "callback_", new_token(), TOKEN.upper(), SHA256):
        with pytest.raises(UnauthenticatedError, match="the token is not known"):
            principals.of_token(token)
    for names in ([], ["nobody.example"], ["ORDERS.shop.example"]):
        with pytest.raises(UnauthenticatedError, match="the certificate is not known"):
            principals.of_certificate(names)
    with pytest.raises(UnauthenticatedError, match="belong to several principals"):
        principals.of_certificate(["edge.shop.example", "orders.shop.example"])


@pytest.mark.parametrize("at", ["created = 2026", 'roles = ["owner"]'], ids=["token", "principal"])
def test_what_is_revoked_is_refused(path, at):
    subject = '[[principals.orders.subjects]]\nissuer = "https://login.example"\nsubject = "1"\n'
    principals = known(path, WRITTEN.replace(at, f"revoked = true\n{at}") + subject)
    with pytest.raises(RevokedError, match="orders"):
        principals.of_token(TOKEN)
    assert principals.of_certificate(["edge.shop.example"]).name == "edge"
    others = [lambda: principals.of_certificate(["orders.shop.example"])]
    others.append(lambda: principals.of_subject("https://login.example", "1"))
    for other in others:
        with pytest.raises(RevokedError) if at.startswith("roles") else contextlib.nullcontext():
            other()


def test_a_revoked_principal_gets_no_token(path):
    path.write_text(WRITTEN.replace("[principals.edge]", "[principals.edge]\nrevoked = true"))
    with pytest.raises(SettingsError, match="edge is revoked, so no token of it works; remove revoked = true there"):
        add_token(path, "edge", [], None)


@pytest.mark.parametrize(
    ("after", "works"), [(timedelta(hours=1), True), (timedelta(0), False), (-timedelta(1), False)]
)
def test_a_token_works_until_it_expires(path, after, works):
    expires = (datetime.now(UTC) + after).isoformat()
    principals = known(path, WRITTEN.replace("created = 2026-11-25T10:00:00Z", f"expires = {expires}"))
    if works:
        assert principals.of_token(TOKEN).name == "orders"
    else:
        with pytest.raises(UnauthenticatedError, match="the token has expired"):
            principals.of_token(TOKEN)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "principals: must be given"),  # as while the file is being written
        ("[principals.a", "at end of document"),
        ("[principals.a]\n", "principals.a.roles: must be given"),
        ("[principals.a]\nroles = []\n", "principals.a.roles: "),
        ('[principals.a]\nroles = ["king"]\n', "principals.a.roles.0: must be 'owner', 'edge', "),
        ('[principals.a]\nroles = ["worker"]\n', 'the role worker needs activities; activities = ["*"] are all'),
        ('[principals.a]\nroles = ["edge"]\nactivities = ["*"]\n', "activities need the role worker or owner"),
        ('[principals.a]\nroles = ["owner"]\nanswers = true\n', "answers = true needs the role worker"),
        ('[principals.a]\nroles = ["worker"]\nactivities = [""]\n', "principals.a.activities.0: "),
        ('[principals.A]\nroles = ["edge"]\n', "principals.A"),
        (f'[principals.{"a" * 64}]\nroles = ["edge"]\n', "principals.a"),
        ('[principals.a]\nroles = ["edge"]\ncolour = 1\n', "principals.a.colour: unknown"),
        ('[principal.a]\nroles = ["edge"]\n', "principal: unknown"),
        ('[principals.a]\nroles = ["edge"]\ntokens = [{}]\n', "principals.a.tokens.0.sha256: must be given"),
        (WRITTEN.replace(SHA256, TOKEN), "principals.orders.tokens.0.sha256: must match pattern"),
        (WRITTEN.replace(SHA256, SHA256.upper()), "principals.orders.tokens.0.sha256: must match pattern"),
        (WRITTEN.replace("10:00:00Z", "10:00:00"), "principals.orders.tokens.0.created: must have timezone"),
        (WRITTEN.replace("edge.shop", "orders.shop"), "the certificate orders.shop.example is listed twice"),
        (f'{WRITTEN}[[principals.edge.tokens]]\nsha256 = "{SHA256}"\n',
         "principals.edge: a token of it is listed twice"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_says_where_and_repeats_no_token(path, text, says):
    with pytest.raises(SettingsError) as caught:
        known(path, text)
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_an_unreadable_file_is_an_error_with_its_cause(path, tmp_path):
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        read_principals(path)
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        read_principals(tmp_path)
    path.write_bytes(b"# caf\xe9")
    with pytest.raises(SettingsError, match="is not UTF-8"):
        read_principals(path)


def test_a_token_is_random_and_easily_known_as_one():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"callback_[A-Za-z0-9_-]{43}", token) for token in tokens)


def test_the_first_token_makes_a_file_for_its_owner_alone(path):
    previous = os.umask(0)
    try:
        token = add_token(path, "orders", [Role.OWNER, Role.EDGE], None)
    finally:
        os.umask(previous)
    assert of(token, path).roles == {Role.OWNER, Role.EDGE}
    assert path.stat().st_mode & 0o777 == 0o600
    assert token not in path.read_text()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "# Who may do what\n\n", "[principals]\n"])
def test_a_file_without_principals_can_get_the_first_one(path, text):
    path.write_text(text)
    token = add_token(path, "orders", [Role.OWNER], None)
    assert of(token, path).name == "orders"
    assert path.read_text().startswith(text)


def test_a_further_token_leaves_all_else_as_it_is(path):
    path.write_text(WRITTEN)
    path.chmod(0o640)
    second = add_token(path, "orders", [], None)
    third = add_token(path, "orders", [Role.OWNER], datetime.now(UTC) + timedelta(days=90))
    assert {of(token, path).name for token in (TOKEN, second, third)} == {"orders"}
    other = add_token(path, "a.new-one_", [Role.ADMIN], None)
    assert of(other, path).name == "a.new-one_"
    left = iter(path.read_text().splitlines())
    assert all(line in left for line in WRITTEN.splitlines())  # every earlier line, in its order
    assert path.stat().st_mode & 0o777 == 0o640
    first, made, expiring = tomllib.loads(path.read_text())["principals"]["orders"]["tokens"]
    assert first == {"sha256": SHA256, "created": datetime(2026, 11, 25, 10, tzinfo=UTC)}
    assert made.keys() == {"sha256", "created"}
    assert timedelta(days=89) < expiring["expires"] - expiring["created"] <= timedelta(days=90)


@pytest.mark.parametrize(
    "text",
    [
        '[principals.orders]\nroles = ["owner"]',
        '[principals.orders]\r\nroles = ["owner"]\r\n# the end\r\n',
        '["principals"."orders"]\nroles = ["owner"]\n',
        '[principals]\norders = {roles = ["owner"]}\n',
        f'[principals]\norders = {{roles = ["owner"], tokens = [{{sha256 = "{SHA256}"}}]}}\n',
        f'[principals.orders]\nroles = ["owner"]\ntokens = [\n  {{sha256 = "{SHA256}"}},  # first\n]\n',
        '[principals]\norders.roles = ["owner"]\norders.tokens = []\n',
        'principals.orders.roles = ["owner"]\n',
        '[principals.orders]\nroles = ["owner"]\n[principals.b]\nroles = ["edge"]\n[[principals.orders.tokens]]\n'
        f'sha256 = "{SHA256}"\n[[principals.b.tokens]]\nsha256 = "{SHA256[::-1]}"\n',
    ],
)
@pytest.mark.parametrize("name", ["orders", "new.one"])
def test_however_tables_are_written_a_token_is_added_to_them(path, text, name):
    path.write_bytes(text.encode())
    before = read_principals(path).entries
    tokens = [add_token(path, name, [Role.OWNER], None), add_token(path, name, [], None)]
    assert {of(token, path).name for token in tokens} == {name}
    after = read_principals(path).entries
    assert after.pop(name).tokens[:-2] == (before.pop(name).tokens if name in before else ())
    assert after == before


@pytest.mark.parametrize(
    ("name", "roles", "text", "says"),
    [
        ("orders", [Role.EDGE], WRITTEN, "orders has other roles: owner; change them there"),
        ("orders", [Role.OWNER, Role.EDGE], WRITTEN, "orders has other roles: owner"),
        ("nobody", [], WRITTEN, "nobody is not in the file yet: give its roles"),
        ("nobody", [Role.WORKER], WRITTEN, "nobody: the role worker needs activities"),
        ("orders", [], "[principals.orders", "at end of document"),
        ("buyers", [Role.OWNER], 'principals = {orders = {roles = ["owner"]}}\n',
         "give each principal a table [principals.NAME]"),
        ("Orders", [Role.OWNER], WRITTEN, "the first a letter or digit"),
        ("orders\n", [Role.OWNER], WRITTEN, "the first a letter or digit"),
        ("", [Role.OWNER], WRITTEN, "the first a letter or digit"),
    ],
)  # fmt: skip
def test_a_refused_addition_changes_nothing(path, name, roles, text, says):
    path.write_text(text)
    before = path.stat().st_ino
    with pytest.raises((SettingsError, ValueError), match=re.escape(says)):
        add_token(path, name, roles, None)
    assert (path.read_text(), path.stat().st_ino) == (text, before)
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_directory_is_an_error(path):
    with pytest.raises(SettingsError, match="cannot be written: No such file or directory"):
        add_token(path.parent / "nowhere" / "principals.toml", "orders", [Role.OWNER], None)


def test_a_link_stays_a_link_and_its_target_is_changed(path, tmp_path):
    link = tmp_path / "link.toml"
    path.write_text(WRITTEN)
    link.symlink_to(path.name)
    token = add_token(link, "orders", [], None)
    assert link.is_symlink()
    assert of(token, path).name == "orders"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_file_that_root_adds_to_stays_that_of_its_owner(path):
    path.write_text(WRITTEN)
    os.chown(path, 65534, 65533)
    add_token(path, "orders", [], None)
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65533)


def test_no_token_is_lost_where_many_are_added_at_once(path):
    with ThreadPoolExecutor(8) as threads:
        tokens = list(threads.map(lambda number: add_token(path, f"p{number % 3}", [Role.OWNER], None), range(24)))
    principals = read_principals(path)
    assert [principals.of_token(token).name for token in tokens] == [f"p{number % 3}" for number in range(24)]


def test_an_entry_added_by_hand_works_the_same(path):
    principals = known(path, token_toml("new.one", [Role.OWNER, Role.EDGE], token_entry(TOKEN, None)))
    assert principals.of_token(TOKEN).roles == {Role.OWNER, Role.EDGE}
    worker = known(path, token_toml("w", [Role.WORKER], token_entry(TOKEN, None), activities=["a", "*"]))
    assert worker.of_token(TOKEN).activities == {"a", "*"}
    entry = token_toml("w", [Role.WORKER], token_entry(TOKEN, None), activities=["a"], answers=True)
    assert known(path, entry).of_token(TOKEN).answers
    principals = known(path, token_toml("new.one", [Role.OWNER, Role.EDGE], token_entry(TOKEN, None)))
    further = new_token()
    text = path.read_text() + token_toml("new.one", [], token_entry(further, None))
    assert {known(path, text).of_token(token).name for token in (TOKEN, further)} == {"new.one"}


class OddPath(type(Path())):
    """A path whose next reads fail in these ways, and whose status may stay the same."""

    failures = ()
    is_always_the_same = False

    def read_bytes(self):
        if self.failures:
            raise self.failures.pop()
        return super().read_bytes()

    def stat(self, **more):
        if self.is_always_the_same:
            return SimpleNamespace(st_ctime_ns=0, st_size=0, st_ino=0)
        return super().stat(**more)


@contextlib.asynccontextmanager
async def watching(path):
    """Watch a file, and yield it with its log."""
    file = PrincipalsFile(path)
    with capture_logs() as log:
        async with TaskSet() as tasks:
            tasks.start(file.run())
            yield file, log


@pytest.fixture
async def watched(path, limits):
    limits(module, WATCH_INTERVAL_S=0.01)
    path.write_text(WRITTEN)
    async with watching(OddPath(path)) as watched:
        yield watched


async def becomes(file, path, name="buyers"):
    """Give a principal of the file another name, and wait until it is known."""
    path.write_text(WRITTEN.replace("orders", name))
    await wait_until(lambda: name in file.current.entries, what="the other name")


async def test_a_token_that_is_added_works_without_a_restart_and_one_that_is_taken_away_does_not(path, watched):
    file, log = watched
    token = add_token(path, "orders", [], None)
    await wait_until(lambda: len(file.current.entries["orders"].tokens) == 2)
    assert file.current.of_token(token).name == "orders"
    path.write_text(path.read_text().replace(SHA256, "0" * 64))
    await wait_until(lambda: file.current.entries["orders"].tokens[0].sha256 == "0" * 64)
    with pytest.raises(UnauthenticatedError):
        file.current.of_token(TOKEN)
    assert {event["event"] for event in log} == {"principals_read"}


async def test_a_file_that_becomes_wrong_or_missing_changes_nothing_and_is_logged_once(path, watched):
    file, log = watched
    before = file.current
    path.write_text(f"{WRITTEN}[principals.broken")
    await wait_until(lambda: len(log) == 1)
    path.unlink()
    await wait_until(lambda: len(log) == 2)
    assert file.current is before
    path.write_text(f"x = {'[' * 5000}")
    await wait_until(lambda: len(log) == 3)
    assert log[2]["error"] == f"{path}: is nested too deeply"
    await becomes(file, path)
    assert [event["event"] for event in log] == [*["principals_not_read"] * 3, "principals_read"]


@pytest.mark.parametrize(
    "failures", [[OSError(errno.EMFILE, "Too many open files") for _ in range(4)], [MemoryError()]], ids=len
)
async def test_a_file_that_cannot_be_read_for_a_moment_is_logged_once_and_read_once_it_can_be(path, limits, failures):
    limits(module, WATCH_INTERVAL_S=0.01)
    path.write_text(WRITTEN)
    odd = OddPath(path)
    lacks_descriptor = isinstance(failures[0], OSError)

    def reloads_failed():
        return REGISTRY.get_sample_value("callback_reloads_failed_total", {"file": "principals"})

    before = reloads_failed()
    async with watching(odd) as (file, log):
        odd.failures = failures
        path.touch()
        await wait_until(lambda: not failures, what="the last failure")
        await becomes(file, path)
    assert [event["event"] for event in log] == ["principals_not_read", "principals_read"]
    assert reloads_failed() - before == (not lacks_descriptor)


async def test_when_the_first_principal_loses_its_access_is_a_metric(path, limits):
    """The former token of a rotation does not count, nor does one of a principal that has another credential."""
    limits(module, WATCH_INTERVAL_S=0.01)

    def shown():
        return REGISTRY.get_sample_value("callback_access_expires_time_seconds")

    def entry(name, *ends, more=""):
        tokens = "".join(
            f'[[principals.{name}.tokens]]\nsha256 = "{hashlib.sha256(new_token().encode()).hexdigest()}"\n'
            + (f"expires = {datetime.fromtimestamp(end, UTC).isoformat()}\n" if end else "")
            for end in ends
        )
        return f'[principals.{name}]\nroles = ["owner"]\n{more}{tokens}'

    path.write_text(entry("one", None))
    async with watching(path):
        assert shown() == math.inf
        path.write_text(
            entry("one", None, 1000) + entry("two", 2000, 4000) + entry("three", 3000, more='certificates = ["a"]\n')
        )
        await wait_until(lambda: shown() == 4000)
        path.write_text(entry("one", None))
        await wait_until(lambda: shown() == math.inf)


async def test_a_change_in_the_same_tick_of_the_clock_as_the_start_is_seen(path, limits):
    limits(module, WATCH_INTERVAL_S=0.01)
    path.write_text(WRITTEN)
    odd = OddPath(path)
    odd.is_always_the_same = True
    async with watching(odd) as (file, _):
        await becomes(file, path)


async def test_a_change_is_seen_though_time_and_size_of_the_file_stay(path, watched):
    file, _ = watched
    before = path.stat()
    path.write_text(WRITTEN.replace("orders", "buyers"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    await wait_until(lambda: "buyers" in file.current.entries)
