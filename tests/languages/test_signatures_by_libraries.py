"""The signatures of requests to HTTP handlers, judged by the libraries of Standard Webhooks in five languages.

A handler accepts a request if its library accepts both signatures: that of the body, and that of the metadata. Rust is
for a soak, as in `test_stubs.py`.
"""

import base64
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from soak.counts import SOAK
from support.http_handlers import OTHER_SECRET, SECRET, HttpHandlerServer, http_activity, signed, unsigned
from support.installed import run
from support.kept import KEPT, content_of, make_once
from support.languages import require_language
from support.senders import whsec
from support.services import running_services
from support.tools import require
from support.tree import ROOT

SIGNATURES = ROOT / "tests" / "languages" / "signatures"
CALLERS = whsec(b"a caller")
"""A secret that a caller has made up."""
LIBRARIES = ["Python", "Node", "Go", "PHP", *(["Rust"] if SOAK else [])]
OF_BYTES = ("Go", "PHP")
"""The languages whose library takes any body. For the others a body is text."""


@pytest.fixture
def library(request, shared):
    """Return the command of the program of a language, which `SIGNATURES` has."""
    match request.param:
        case "Python":
            return [sys.executable, str(SIGNATURES / "signatures.py")]
        case "Node":
            folder = request.getfixturevalue("with_standard_webhooks")
            return [require("node"), shutil.copy(SIGNATURES / "signatures.mjs", folder)]
        case "Go":
            return request.getfixturevalue("go_commands")["go-signatures"]
        case "PHP":
            return [require("php"), str(SIGNATURES / "signatures.php"), request.getfixturevalue("php_library")]
        case "Rust":
            require("cargo")
            content = "tests/languages/signatures", "tests/languages/test_signatures_by_libraries.py"
            return make_once("signatures", lambda: content_of(*content), _build_rust, folder=KEPT or shared)


@pytest.fixture
def php_library():
    """Return the folder of the library for PHP. It comes with that for Go, whose module has those of all languages."""
    require_language("Go")
    module = "github.com/standard-webhooks/standard-webhooks/libraries"
    at = ROOT / "clients" / "go"  # its go.sum has the hash of the module
    return f"{json.loads(run('go', 'mod', 'download', '-json', module, at=at))['Dir']}/php"


def _build_rust(folder):
    for name in ("Cargo.toml", "signatures.rs"):  # cargo writes a file of its own beside them
        shutil.copy(SIGNATURES / name, folder)
    run("cargo", "build", "--quiet", at=folder)
    shutil.move(folder / "target" / "debug" / "signatures", folder / "signatures")
    shutil.rmtree(folder / "target")
    return [str(folder / "signatures")]


def judged(library, requests, secret=SECRET):
    """Return whether a library accepts each of these requests: pairs of headers and a body."""
    lines = []
    for headers, body in requests:
        given = {name.lower(): value for name, value in headers.items()}
        identifier, time = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
        text = given.get("callback-metadata", "").encode()
        of_metadata = identifier and f"{identifier}.metadata"
        for message in (
            (identifier, time, given.get("webhook-signature", ""), body),
            (of_metadata, time, given.get("callback-metadata-signature", ""), text),
        ):
            *values, content = message
            lines.append("\t".join([secret, *values, base64.b64encode(content).decode()]))
    ended = subprocess.run(library, input="\n".join([*lines, ""]), stdout=subprocess.PIPE, text=True, check=True)
    words = ended.stdout.split()
    assert {*words} <= {"accepted", "refused"}
    assert len(words) == len(lines)
    return [pair == ("accepted", "accepted") for pair in zip(words[::2], words[1::2], strict=True)]


BODIES = {"get": b"", "post": b"id=5", "put": json.dumps({"name": "caf\u00e9"}, ensure_ascii=False).encode()}


async def sent_by_a_server(store, folder, fields=(), text=b"id=5"):
    """Return requests that a server has signed with two secrets, with the bodies of `BODIES`.

    Args:
        store: The store of the server.
        folder: A folder for the secrets.
        fields: Headers of the caller.
        text: The body of the POST.
    """
    bodies = BODIES | {"post": text}
    async with HttpHandlerServer() as handler:
        act = http_activity(handler.url, folder, SECRET, OTHER_SECRET, request_headers=["x-event"])
        async with running_services(store, activities={"act": act}) as services:
            for method, body in bodies.items():
                made = await services.generate("act", labels={"order": "5"})
                named = [{"name": name, "value": value} for name, value in fields]
                query = [{"name": "name", "value": "caf\u00e9"}]
                await services.call(made, method=method, body=body, request_headers=named, request_query=query)
        assert [each.body for each in handler.requests] == [*bodies.values()]
        return handler.requests


@pytest.mark.parametrize("library", LIBRARIES, indirect=True)
async def test_a_library_accepts_what_a_server_signs_and_refuses_everything_else(library, store_of, tmp_path):
    requests = await sent_by_a_server(store_of(), tmp_path)
    genuine = [(each.headers, each.body) for each in requests]
    for secret in (SECRET, OTHER_SECRET):
        assert judged(library, genuine, secret) == [True] * len(BODIES)
    altered = {f"{why}, of another program": each for why, each in unsigned().items()}
    _, (sent, body), _ = genuine
    altered |= {
        "another body": (sent, body + b" "),
        "no body": (sent, b""),
        "the body of another request": (sent, genuine[2][1]),
        "the metadata of another request": (sent | _metadata_of(genuine[2][0]), body),
        "altered metadata": (sent | {"callback-metadata": sent["callback-metadata"][:-1]}, body),
        "the metadata as the body": (
            sent | {"webhook-signature": sent["callback-metadata-signature"]}, sent["callback-metadata"].encode()
        ),
        "another version": (sent | {"webhook-signature": sent["webhook-signature"].replace("v1,", "v2,")}, body),
    }  # fmt: skip
    names = [name for name in sent if name.startswith(("webhook-", "callback-"))]
    altered |= {f"without {name}": (sent | {name: ""}, body) for name in names}
    own = signed(secret=CALLERS, now=datetime.now(UTC) - timedelta(seconds=60))
    altered |= {f"a caller's own {name}": (sent | {name: own[name]}, body) for name in names}
    altered |= {"all of a caller": (own, b"paid")}
    answers = dict(zip(altered, judged(library, altered.values()), strict=True))
    assert not any(answers.values()), [why for why, accepted in answers.items() if accepted]


@pytest.mark.parametrize("library", LIBRARIES, indirect=True)
async def test_the_fields_of_a_caller_never_pass_as_those_of_a_server(library, store_of, tmp_path):
    own = signed(b"id=5", secret=CALLERS, callbackActivity="act", owner="mallory")
    assert judged(library, [(own, b"id=5")], CALLERS) == [True]
    requests = await sent_by_a_server(store_of(), tmp_path, own.items())
    genuine = [(each.headers, each.body) for each in requests]
    assert judged(library, genuine) == [True] * len(BODIES)
    assert judged(library, genuine, CALLERS) == [False] * len(BODIES)
    for each in requests:
        names = [name for name, _ in each.fields if name.startswith(("webhook-", "callback-"))]
        assert len(names) == len({*names}) == 5
        assert each.metadata["owner"] == "local"


@pytest.mark.parametrize("library", LIBRARIES, indirect=True)
async def test_a_body_that_is_no_text_is_accepted_by_some_libraries_alone(library, request, store_of, tmp_path):
    (_, sent, _) = await sent_by_a_server(store_of(), tmp_path, text=b"\xff\x00")
    language = request.node.callspec.params["library"]
    assert judged(library, [(sent.headers, sent.body)]) == [language in OF_BYTES]


def _metadata_of(headers):
    return {name: headers[name] for name in ("callback-metadata", "callback-metadata-signature")}
