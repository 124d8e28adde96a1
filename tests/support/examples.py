"""The examples in the help of the commands."""

import shlex

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from callback_cli.main import COMMANDS

RUN_ON = {"up", "server", "edge", "console", "prove", "conform", "wait", "watch", "listen"}
"""Commands that run until they are stopped, or for long. They have tests of their own."""
NEED_MORE = {
    "answer": "a held call",
    "resolve": "a held call",
    "verify": "a profile in the settings",
    "replay CALL": "a call whose handler failed",
    "erase CASE": "a terminal",
    "profile": "a keyring",
}
"""Beginnings of further examples that are not run, and what they need. They have tests of their own, too."""


def examples():
    """Return the examples that end by themselves on a system without any setting."""
    found = [
        line.strip()
        for command in COMMANDS
        if command.name not in RUN_ON
        for line in (command.epilog or "").splitlines()
        if "callback " in line
    ]
    needy = {each: [line for line in found if line.startswith(f"callback {each}")] for each in NEED_MORE}
    assert all(needy.values()), f"no such examples: {[each for each, lines in needy.items() if not lines]}"
    return [line for line in found if not any(line in lines for lines in needy.values())]


def commands(example):
    """Yield the commands of an example: what stands before each of them, `|`, `<` or such, and its words."""
    words, before = [], ""
    lexer = shlex.shlex(example, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for word in [*lexer, ";"]:
        if not set(word) <= set("();<>|&"):
            words.append(word)
        else:
            if words:
                yield before, words
            words, before = [], word


def write_files(directory):
    """Write the files that the examples name, except those that another example writes."""
    key = rsa.generate_private_key(65537, 2048)
    for name, content in {
        "admin.token": "x" * 40,
        "callback.toml": "",
        "github.secret": "a" * 40,
        "idp.key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "orders.jsonl": (
            '{"requestId": "5", "callbackActivity": "record", "response": {"responseType": "RESPONSE"}}\n'
        ),
        "page.html": "<p>Thank you",
        "push.json": "{}",
        "stripe.secret": "whsec_" + "a" * 32,
    }.items():
        (directory / name).write_text(content)
        (directory / name).chmod(0o600)
