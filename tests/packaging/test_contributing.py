"""The recipes of CONTRIBUTING, performed on a copy of this repository: each new fact reaches every part of the product.

Each recipe is a list of edits, in the files of its table. The copy is generated once and run. The programs in
`recipes/` use it as the clients for Python, Go and Node.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import httpx
import pytest
from support.installed import GO_FLAGS
from support.languages import callback_command, require_language
from support.tree import PACKAGES, ROOT
from support.wait import DEADLINE_S

PROGRAMS = ROOT / "tests" / "packaging" / "recipes"
ROOTS = sorted({str(folder.parent.relative_to(ROOT)) for folder in PACKAGES.values()})
"""The folders of packages."""


@dataclass(frozen=True)
class Edit:
    """One edit: text behind a line of a file, once."""

    file: str
    after: str
    text: str

    def apply(self, tree):
        path = tree / self.file
        before = path.read_text()
        assert before.count(self.after) == 1, (self.file, self.after, before.count(self.after))
        path.write_text(before.replace(self.after, self.after + self.text))


CALLBACK = "proto/callback/v1/callback.proto"
CALLBACKS_SERVICE = "proto/callback/v1/callbacks_service.proto"
OPERATIONS_SERVICE = "proto/callback/v1/operations_service.proto"
SERVICER = "server/callback_server/rpc/callbacks_service.py"
NOTE = """\
  // owner_note is a note of the owner, for its own eyes. Default empty, at most 200 characters.
  string owner_note = 50 [
    (callback.v1.secret) = true,
    (buf.validate.field).string.max_len = 200
  ];
"""
RECIPES = {
    "A response attribute": [
        Edit(
            CALLBACK,
            "message Response {\n",
            """\
  // response_disposition is what to do with the body: the header `content-disposition`. Default: none.
  optional string response_disposition = 20 [(buf.validate.field).string.max_len = 35];
""",
        ),
        Edit(
            "server/callback_server/domain/response.py",
            "    language: str | None = None\n",
            "    disposition: str | None = None\n",
        ),
        Edit(
            "server/callback_server/domain/response.py",
            "    return Response(type=ResponseType.RESPONSE, code=code, headers=response.headers or (), body=body",
            ", disposition=response.disposition",
        ),
        Edit("tests/domain/test_responses.py", 'b"body", "heading", "text", "label", "/link", "nl"', ', "inline"'),
        Edit(
            "tests/domain/test_responses.py",
            """        (BASE, Response(ResponseType.RESPONSE, None, 201, (("x-a", "1"),), b"body\"""",
            ', disposition="inline"',
        ),
        Edit(
            "edge/callback_edge/call/answer.py",
            "    headers = [(name, value) for name, value in headers if name not in unsent]\n",
            "    if response.response_disposition:\n"
            '        headers.append(("content-disposition", response.response_disposition))\n',
        ),
        Edit(
            "tests/support/hostile.py",
            "        response.response_body = draw(st.binary(max_size=200))\n",
            "    if draw(st.booleans()):\n        response.response_disposition = draw(texts)\n",
        ),
        Edit("docs/answers.md", "# Answers\n", "\nThe attribute `disposition` is sent as `content-disposition`.\n"),
    ],
    "An option of GenerateCallbackUrl": [
        Edit(CALLBACKS_SERVICE, "message GenerateCallbackUrlRequest {\n", NOTE),
        Edit(CALLBACK, "message Callback {\n", NOTE),
        Edit(
            "server/callback_server/domain/case.py",
            '    traceparent: str = ""\n'
            '    """The W3C trace context that generated the case, for links to it. Empty: none."""\n',
            '    owner_note: str = ""\n',
        ),
        Edit(
            "server/callback_server/rpc/new_case.py",
            "    found = [\n        *_guard_problems(request),\n",
            '        *([Violation("owner_note", "link", "has a link")] if "://" in request.owner_note else []),\n',
        ),
    ],
    "A field of Call": [
        Edit(
            CALLBACK,
            "message Call {\n",
            "  // answer_digits is the number of digits in the code of the answer to a held call. 0: it has none.\n"
            "  int64 answer_digits = 50;\n",
        ),
        Edit("server/callback_server/domain/call.py", '    answered_by: str = ""\n', "    answer_digits: int = 0\n"),
        Edit(
            "server/callback_server/store/fields.py",
            "CALL_FIELDS: Final[Mapping[str, str]] = {\n",
            '    "answer_digits": "the number of digits in the code of the answer; absent for none",\n',
        ),
        Edit(
            "server/callback_server/store/lua/finish_call.lua",
            "---@param detail string\n",
            "---@param answer_digits string of the code of the answer\n",
        ),
        Edit(
            "server/callback_server/store/lua/finish_call.lua",
            "  set_call_field('answered_by', answered_by)\n",
            "  set_call_field('answer_digits', answer_digits)\n",
        ),
        Edit(
            "server/callback_server/store/transitions/finish_call.py",
            "        answered_by=answered_by,\n",
            '        answer_digits=str(len(str(code or ""))),\n',
        ),
    ],
    "An error reason": [
        Edit(
            "proto/callback/v1/error_reason.proto",
            "enum ErrorReason {\n  // ERROR_REASON_UNSPECIFIED is never sent.\n  ERROR_REASON_UNSPECIFIED = 0;\n",
            """\
  // ERROR_REASON_ACTIVITY_RETIRED: no more callbacks are generated for the activity. Metadata: `activity`. Returned by
  // GenerateCallbackUrl.
  ERROR_REASON_ACTIVITY_RETIRED = 90 [(callback.v1.grpc_code) = "FAILED_PRECONDITION"];
""",
        ),
        Edit(
            "server/callback_server/errors.py",
            '        self.facts = facts\n        """The metadata of the error."""\n',
            """

class ActivityRetiredError(CallbackError):
    \"\"\"No more callbacks are generated for the activity.\"\"\"

    reason = "ACTIVITY_RETIRED"
    message = "the activity is retired"
""",
        ),
        Edit(
            "server/callback_server/rpc/url_generator.py",
            "        case, state = new_case(request, self.policy, owner=caller.name, own_profiles=own_profiles)\n",
            '        if case.activity == "retired":\n'
            "            raise errors.ActivityRetiredError(activity=case.activity)\n",
        ),
    ],
    "A filter of ListCallbacks": [
        Edit(
            CALLBACKS_SERVICE,
            "message ListCallbacksRequest {\n",
            "  // verification_profile selects cases that require this profile. Default empty: all.\n"
            "  string verification_profile = 20 [(buf.validate.field).string.max_len = 63];\n",
        ),
        Edit(
            "server/callback_server/store/lua/list_cases.lua",
            "---@param last_call string status of the newest call, '' = all\n",
            "---@param profile string '' = all\n",
        ),
        Edit(
            "server/callback_server/store/lua/list_cases.lua",
            "local function fits(case_id)\n",
            "  local its_profile = redis.call('HGET', case_key(case_id), 'profile')\n"
            "  if profile ~= '' and its_profile ~= profile then return false end\n",
        ),
        Edit(
            "server/callback_server/store/queries/list_cases.py",
            "    last_call: CallStatus | None = None,\n",
            '    profile: str = "",\n',
        ),
        Edit(
            "server/callback_server/store/queries/list_cases.py",
            '                last_call=last_call or "",\n',
            "                profile=profile,\n",
        ),
        Edit(
            SERVICER,
            '                last_call=member_of(CallStatus, request, "last_call_status"),\n',
            "                profile=request.verification_profile,\n",
        ),
    ],
    "An RPC that reads one resource": [
        Edit(
            OPERATIONS_SERVICE,
            "service OperationsService {\n",
            """\
  // GetOwnerStatistics returns what one owner has in the store. Needs the role `admin`. Fails with INVALID_REQUEST or
  // STORE_UNAVAILABLE.
  rpc GetOwnerStatistics(GetOwnerStatisticsRequest) returns (GetOwnerStatisticsResponse);
""",
        ),
        Edit(
            OPERATIONS_SERVICE,
            "// GetStatisticsRequest is empty.\nmessage GetStatisticsRequest {}\n",
            """\

// GetOwnerStatisticsRequest names an owner.
message GetOwnerStatisticsRequest {
  // owner is the owner. Required.
  string owner = 1 [(buf.validate.field).string.min_len = 1];
}

// GetOwnerStatisticsResponse returns what the owner has.
message GetOwnerStatisticsResponse {
  // statistics is what the owner has.
  OwnerStatistics statistics = 1;
}
""",
        ),
        Edit(
            "server/callback_server/rpc/operations_service.py",
            "        return _statistics_to(minutes, stages, work)\n",
            """
    @rpc(Role.ADMIN)
    async def GetOwnerStatistics(
        self, request: pb2.GetOwnerStatisticsRequest, _caller: Principal
    ) -> pb2.GetOwnerStatisticsResponse:
        \"\"\"Return what an owner has.\"\"\"
        work = await count_work(self.scripts, [request.owner])
        statistics = to_message(pb2.OwnerStatistics, work.owners[request.owner], owner=request.owner)
        return pb2.GetOwnerStatisticsResponse(statistics=statistics)
""",
        ),
        Edit(
            "clients/cli/callback_cli/activities.py",
            "    show=TextView.statistics,\n)\n",
            'owner = read_command("owner", "GetOwnerStatistics", "Show what it has.", "callback owner --owner me")\n',
        ),
        Edit(
            "clients/cli/callback_cli/main.py",
            "activities.resume, activities.paused, activities.statistics,\n",
            "        activities.owner,\n",
        ),
    ],
}


def table_of(recipe):
    """Return the files that CONTRIBUTING names in the table of a recipe, in their order."""
    text = (ROOT / "CONTRIBUTING.md").read_text().partition(f"### {recipe}\n")[2].partition("\n### ")[0]
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_names_the_files_of_its_edits_and_no_more(recipe):
    assert table_of(recipe) == list(dict.fromkeys(edit.file for edit in RECIPES[recipe]))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Return a copy of this repository with every recipe performed, and generated."""
    copy = tmp_path_factory.mktemp("recipes") / "tree"
    ignored = shutil.ignore_patterns(".git", ".venv", "node_modules", "dist", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, copy, ignore=ignored)
    (copy / "clients" / "typescript" / "node_modules").symlink_to(ROOT / "clients" / "typescript" / "node_modules")
    for edit in (edit for edits in RECIPES.values() for edit in edits):
        edit.apply(copy)
    generate = "import tasks; tasks.enter = lambda kind: None; tasks.main(['generate'])"  # in the present environment
    run(copy, sys.executable, "-c", generate)
    return copy


def run(tree, *command, folder=".", **environment):
    """Run a program in the copy with the packages of the copy, and return its standard output."""
    paths = os.pathsep.join(str(tree / each) for each in (*ROOTS, "."))
    ran = subprocess.run(
        command, cwd=tree / folder, env={**os.environ, "PYTHONPATH": paths, **environment}, capture_output=True,
        text=True, check=False, timeout=DEADLINE_S * 10,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
    return ran.stdout


@pytest.fixture(scope="module")
def up(tree, tmp_path_factory):
    """Run the copy with `callback up`, and return its addresses."""
    folder = tmp_path_factory.mktemp("up")
    paths = os.pathsep.join(str(tree / each) for each in ROOTS)
    options = [f"--{name}=127.0.0.1:0" for name in ("edge", "grpc", "console")]
    command = [sys.executable, "-m", "callback_cli", "up", f"--data-dir={folder / 'data'}", *options]
    with (folder / "log").open("w") as log, subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, stderr=log, text=True
    ) as process:  # fmt: skip
        ready = process.stdout.readline()
        assert ready.startswith("ready "), (folder / "log").read_text()
        yield SimpleNamespace(**dict(each.split("=") for each in ready.split()[1:]))
        process.terminate()


@pytest.fixture(scope="module")
def callback(tree, up):
    """Return the command line of the copy."""

    def command(*arguments):
        return run(tree, sys.executable, "-m", "callback_cli", *arguments, f"--target={up.grpc}")

    return command


@pytest.fixture(scope="module")
def made(callback):
    """Return a callback with the new attribute and the new option."""
    new = ("--disposition", "inline", "--owner-note", "for me alone")
    printed = callback("generate", "--activity", "form", "--type", "response", "--body", "dank u", *new, "--json")
    return json.loads(printed)


def test_the_edge_sends_the_attribute(callback, up):
    options = ("--activity", "record", "--type", "response", "--disposition", "inline", "--json")
    url = json.loads(callback("generate", *options))["callbackUrl"]
    assert httpx.get(url).headers["content-disposition"] == "inline"


def test_the_command_line_shows_the_facts_as_json_and_masks_the_secret_in_text(callback, made):
    view = json.loads(callback("get", made["callbackCaseId"], "--json"))
    assert (view["response"]["responseDisposition"], view["ownerNote"]) == ("inline", "for me alone")
    text = callback("get", made["callbackCaseId"])
    assert re.search(r"disposition: inline", text)
    assert re.search(r"owner note +\*\*\*", text)
    assert "for me alone" not in text


def test_the_command_line_takes_each_response_the_filter_and_the_rpc(callback, made):
    assert "--closed-disposition" in callback("generate", "--help")
    assert json.loads(callback("list", "--verification-profile", "none", "--json")) == []
    listed = json.loads(callback("list", "--json"))
    assert made["callbackCaseId"] in [each["callbackCaseId"] for each in listed]
    assert json.loads(callback("owner", "--owner", "local", "--json"))["owner"] == "local"
    assert re.search(r"owner +local", callback("owner", "--owner", "local"))


def test_the_json_api_and_its_document_have_the_facts(tree, up, made):
    def ask(service, rpc, message):
        url = f"http://{up.console}/callback.v1.{service}/{rpc}"
        return httpx.post(url, json=message)

    case = ask("CallbacksService", "GetCallback", {"callbackCaseId": made["callbackCaseId"]}).json()["callback"]
    assert case["ownerNote"] == "for me alone"
    assert ask("OperationsService", "GetOwnerStatistics", {"owner": "local"}).json()["statistics"]["owner"] == "local"
    refused = ask(
        "CallbacksService", "GenerateCallbackUrl", {"callbackActivity": "retired", "response": {"responseType": "PAGE"}}
    )
    assert refused.json()["details"][0]["debug"]["reason"] == "ACTIVITY_RETIRED"
    document = (tree / "clients/api/callback_api/openapi.json").read_text()
    assert all(name in document for name in ("responseDisposition", "ownerNote", "answerDigits", "GetOwnerStatistics"))


def test_the_console_shows_the_facts_and_masks_the_secret(up, made):
    with httpx.Client(base_url=f"http://{up.console}") as browser:
        browser.post("/sign-in", headers={"origin": f"http://{up.console}"})
        page = browser.get(f"/callbacks/{made['callbackCaseId']}").text
    assert "Language" in page
    assert "Owner note" in page
    assert "for me alone" not in page


def test_the_python_client_has_the_facts(tree, up, made):
    run(tree, sys.executable, PROGRAMS / "use.py", up.grpc, made["callbackCaseId"], made["callbackUrl"])


def test_the_go_client_has_the_facts(tree, up, made):
    require_language("Go")
    shutil.copy(PROGRAMS / "use.go.txt", tree / "clients" / "go" / "recipes_test.go")
    facts = {"TARGET": up.grpc, "CASE": made["callbackCaseId"], "CALLBACK_COMMAND": callback_command()}
    # With the flags of the tests of the client, so that what both depend on is compiled once.
    test = ["go", "test", "-race", "-vet=off", "-run", "TestRecipes", "-v", "."]
    printed = run(tree, *test, folder="clients/go", GOFLAGS=GO_FLAGS, **facts)
    assert "--- PASS: TestRecipes" in printed


def test_the_client_for_node_has_the_facts(tree, up, made):
    require_language("Node")
    package = tree / "clients" / "typescript"
    run(tree, "node", "node_modules/typescript/bin/tsc", "-p", ".", folder=package)
    shutil.copy(PROGRAMS / "use.mjs", package)
    run(tree, "node", "use.mjs", up.grpc, made["callbackCaseId"], folder=package)


def test_the_reference_has_the_facts(tree):
    program = (
        "from generators.contract import Contract; from generators.contract_pages import contract_pages;"
        "from generators.descriptors import contract_files; print(contract_pages(Contract(contract_files())))"
    )
    pages = run(tree, sys.executable, "-c", program)
    for name in ("response_disposition", "owner_note", "answer_digits", "ACTIVITY_RETIRED", "GetOwnerStatistics"):
        assert name in pages


def test_the_rules_of_the_product_hold_in_the_copy(tree):
    """The stored attributes and the scripts fit, and the new response is overlaid and completed like others."""
    files = [f"tests/domain/test_{name}.py" for name in ("responses", "scripts", "conversion", "error_reasons")]
    run(tree, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    run(tree, "buf", "lint", "proto")
