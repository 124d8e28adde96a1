"""What mypy says of a function that is no handler: its own type, and that of a handler."""

import re
import subprocess
import sys

from support.tree import PACKAGES

RIGHT = """
from callback import Accept, Handler, Handlers, IncomingCall, Notification, Redirect, Response

handlers = Handlers()

@handlers.activity("coroutine")
async def coroutine(call: IncomingCall) -> Response:
    return Response()

@handlers.activity("plain")
def plain(call: IncomingCall) -> Redirect | None:
    return None

@handlers.notification("plain")
def notified(notification: Notification) -> Accept:
    return Accept()

def register(handler: Handler) -> None:
    handlers.activity("any")(handler)

reveal_type(coroutine)
reveal_type(plain)
"""
WRONG = {
    "async def a(call: IncomingCall) -> str: raise NotImplementedError": "[[IncomingCall], Coroutine[Any, Any, str]]",
    "def b(call: IncomingCall) -> int: raise NotImplementedError": "[[IncomingCall], int]",
    "async def c() -> Response: raise NotImplementedError": "[[], Coroutine[Any, Any, Response]]",
    "def d(call: IncomingCall, db: str) -> Response: raise NotImplementedError": "[[IncomingCall, str], Response]",
    "async def e(call: bytes) -> Response: raise NotImplementedError": "[[bytes], Coroutine[Any, Any, Response]]",
    "def f(notification: Notification) -> None: raise NotImplementedError": "[[Notification], None]",
}
"""Functions that are no handlers of calls, and their types without `Callable`."""


def test_mypy_says_which_type_a_wrong_handler_has_and_which_one_a_handler_has(tmp_path):
    lines = RIGHT.splitlines()
    expected = {}
    for function, found in WRONG.items():
        lines += ['@handlers.activity("wrong")', function]
        expected[len(lines) - 1] = found
    (tmp_path / "sample.py").write_text("\n".join(lines))
    mypy = [sys.executable, "-m", "mypy", "--strict", "--cache-dir=cache", "sample.py"]
    path = {"MYPYPATH": str(PACKAGES["callback"].parent)}
    said = subprocess.run(mypy, cwd=tmp_path, env=path, capture_output=True, text=True, check=False).stdout
    answer = "Response | Accept | None"
    handler = rf"Callable[[IncomingCall], Awaitable[{answer}] | {answer}]"
    messages = dict(re.findall(r"^sample.py:(\d+): error: (.*)$", said, re.MULTILINE))
    assert messages == {
        str(line): f'Argument 1 to "__call__" of "HandlerDecorator" has incompatible type "Callable{found}";'
        f' expected "{handler}"  [arg-type]'
        for line, found in expected.items()
    }
    revealed = [
        re.sub(r"callback\._(values|responses)\.", "", each) for each in re.findall(r'Revealed type is "(.*)"', said)
    ]
    assert revealed == [
        "def (call: IncomingCall) -> typing.Coroutine[Any, Any, Response]",
        "def (call: IncomingCall) -> Redirect | None",
    ]
