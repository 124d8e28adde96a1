"""The data that a release has stored, as a readable file: `tests/data/stored-*`. Dumps it, and loads it into a store.

A string holds bytes, one character for each. A long repetitive string is `{"repeat": unit, "times": n}`. A time is
relative to the moment of the dump, `{"ms": n}` or `{"us": n}`, so that a lease that was active then is active after the
load. Every number that looks like a present-day time is taken for one.
"""

import json
import re
from datetime import datetime

import redis.asyncio

from callback_server.store import keys

YEARS_MS = 11 * 366 * 24 * 3600 * 1000
"""Maximum distance of a time from the moment of the dump."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_REPEATED = re.compile(r"(.{1,4}?)\1{200,}", re.DOTALL)


def marked(value, now_ms):
    """Return `value` as in a file: times relative to `now_ms`, bytes as text, long repetitions short."""
    if isinstance(value, dict):
        return {marked_text(name): marked(each, now_ms) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [marked(each, now_ms) for each in value]
    text = marked_text(value)
    if _TIME.fullmatch(text):  # in the format of protobuf's JSON
        return {"ms": round(datetime.fromisoformat(text).timestamp() * 1000) - now_ms}
    if re.fullmatch(r"\d{13,16}", text):
        for unit, per_ms in (("ms", 1), ("us", 1000)):
            if abs(int(text) // per_ms - now_ms) < YEARS_MS:
                return {unit: int(text) - now_ms * per_ms}
    if found := _REPEATED.fullmatch(text):
        return {"repeat": found[1], "times": len(text) // len(found[1])}
    return value if isinstance(value, bool | int) else text


def marked_text(value):
    """Return bytes as text, one character for each."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def whole(value):
    """Return a `value` of a file with its repetitions at full length."""
    if isinstance(value, list):
        return [whole(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "repeat" in value:
        return value["repeat"] * value["times"]
    return {name: whole(each) for name, each in value.items()}


def unmarked(value, now_ms):
    """Return the bytes from which :func:`marked` made a text or a number."""
    value = whole(value)
    if isinstance(value, dict):
        value = value["us"] + now_ms * 1000 if "us" in value else value["ms"] + now_ms
    return str(value).encode("latin-1")


async def store_now_ms(client):
    """Return the time by the store's clock, in milliseconds."""
    seconds, microseconds = await client.time()
    return seconds * 1000 + microseconds // 1000


def is_of_callers(key):
    """Return whether a key has what callers and owners did, and not what servers write by themselves."""
    return not key.endswith(b":epochs") and not key.startswith(keys.STATISTICS_KEY.encode())


async def dumped(client, now_ms):
    """Return the lines of a dump of the store, ordered by key."""
    lines = []
    for key in sorted([key async for key in client.scan_iter(count=1000) if is_of_callers(key)]):
        kind = (await client.type(key)).decode()
        value = {
            "string": client.get, "hash": client.hgetall, "set": client.smembers,
            "list": lambda name: client.lrange(name, 0, -1),
            "zset": lambda name: client.zrange(name, 0, -1, withscores=True), "stream": client.xrange,
        }[kind](key)  # fmt: skip
        value = await value
        if kind == "set":
            value = sorted(value)
        elif kind == "zset":
            value = {member: int(score) for member, score in value}
        line = {"key": key.decode("latin-1"), "type": kind, "value": marked(value, now_ms)}
        if (left_ms := await client.pttl(key)) >= 0:
            line["ttl_ms"] = left_ms
        lines.append(json.dumps(line))
    return lines


async def content_of(store):
    """Return the lines of a dump of a store process, to compare them."""
    async with redis.asyncio.Redis(port=store.port) as client:
        return await dumped(client, 0)


async def load(client, directory):
    """Load `directory/store.jsonl` as if it had been dumped now, and return the time in milliseconds."""
    now_ms = await store_now_ms(client)
    pipeline = client.pipeline(transaction=False)  # adds commands without sending them: one round trip for all lines
    for line in (directory / "store.jsonl").read_text().splitlines():
        dump = json.loads(line)
        key, value = dump["key"].encode("latin-1"), dump["value"]
        match dump["type"]:
            case "string":
                pipeline.set(key, unmarked(value, now_ms))
            case "set":
                pipeline.sadd(key, *(unmarked(member, now_ms) for member in value))
            case "list":
                pipeline.rpush(key, *(unmarked(member, now_ms) for member in value))
            case "hash":
                pipeline.hset(
                    key, mapping={unmarked(name, 0): unmarked(field, now_ms) for name, field in value.items()}
                )
            case "zset":
                pipeline.zadd(key, {unmarked(name, 0): unmarked(score, now_ms) for name, score in value.items()})
            case "stream":
                for entry, fields in value:
                    event = {unmarked(name, 0): unmarked(field, now_ms) for name, field in fields.items()}
                    pipeline.xadd(key, event, id=entry)
        if "ttl_ms" in dump:
            pipeline.pexpire(key, dump["ttl_ms"])
    await pipeline.execute()
    return now_ms


def expected(directory):
    """Return the release's expected answers about its cases, by name. See the README beside the data."""
    lines = (directory / "expected.jsonl").read_text().splitlines()
    return {case["name"]: case for case in map(json.loads, lines)}
