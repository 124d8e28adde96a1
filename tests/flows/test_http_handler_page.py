"""The page on HTTP handlers: its handlers decide calls, and refuse what the server has not signed.

Those in Express and Go are tested with their clients, in `tests/languages`.
"""

import base64
import contextlib

import pytest
from flows.programs import running
from flows.recipes import blocks_of, files_of, run_file
from support.http_handlers import SECRET, HttpHandlerServer, answer, check_handler_of_the_page
from support.store import free_port
from support.tools import require
from support.tree import ROOT

PAGE = (ROOT / "docs/http-handlers.md").read_text()
FILES = files_of(blocks_of("http-handlers.md"))


@contextlib.asynccontextmanager
async def served(folder, name, *command, says, **options):
    """Run a program of the page in a folder with the secret, and yield its URL."""
    (folder / name).write_text(FILES[name])
    (folder / "handler-secret").write_text(f"{SECRET}\n")
    port = free_port()
    async with running(folder, *(each.format(port=port) for each in command), says=says, **options):
        yield f"http://127.0.0.1:{port}/callback"


@pytest.mark.parametrize("name", ["http_handler", "bare_http_handler"])
async def test_a_handler_in_flask_decides_the_calls_that_its_server_signs(store_of, tmp_path, name):
    command = ("-m", "flask", "--app", name, "run", "--port", "{port}")
    async with served(tmp_path, f"{name}.py", *command, says="Running on") as url:
        await check_handler_of_the_page(url, store_of(), tmp_path)


async def test_the_handler_in_php_decides_the_calls_that_its_server_signs(store_of, tmp_path):
    command = ("-d", "enable_post_data_reading=0", "-S", "127.0.0.1:{port}", "http-handler.php")
    assert " ".join(command).format(port=3000) in PAGE
    async with served(
        tmp_path, "http-handler.php", *command, says="started", program=require("php"), PHP_CLI_SERVER_WORKERS="2"
    ) as url:
        await check_handler_of_the_page(url, store_of(), tmp_path)


@pytest.mark.parametrize("is_base64", [True, False])
async def test_the_handler_in_a_lambda_decides_the_calls_that_its_server_signs(
    store_of, tmp_path, monkeypatch, is_base64
):
    (tmp_path / "lambda_http_handler.py").write_text(FILES["lambda_http_handler.py"])
    handler = run_file(tmp_path / "lambda_http_handler.py")["handler"]
    monkeypatch.setenv("HANDLER_SECRET", SECRET)

    async def invoke(request, writer):
        """Invoke the function as a function URL does: payload format 2.0, with and without text as text."""
        event = {
            "version": "2.0", "rawPath": request.path, "rawQueryString": "", "headers": request.headers,
            "requestContext": {"http": {"method": request.method}}, "isBase64Encoded": is_base64,
        }  # fmt: skip
        if request.body:
            event["body"] = base64.b64encode(request.body).decode() if is_base64 else request.body.decode()
        returned = handler(event, None)
        fields = [f"{name}: {value}" for name, value in returned.get("headers", {}).items()]
        writer.write(answer(returned["statusCode"], returned.get("body", "").encode(), *fields))

    async with HttpHandlerServer(invoke) as gateway:
        await check_handler_of_the_page(gateway.url, store_of(), tmp_path)
