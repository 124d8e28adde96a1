"""The page on HTTP handlers: its handlers in Flask decide calls, and refuse what the server has not signed."""

import pytest
from flows.programs import running
from flows.recipes import blocks_of, files_of
from support.http_handlers import SECRET, check_handler_of_the_page
from support.store import free_port

FILES = files_of(blocks_of("http-handlers.md"))


@pytest.fixture(params=["http_handler", "bare_http_handler"])
async def flask(tmp_path, request):
    """Run a handler of the page, and return its URL."""
    (tmp_path / f"{request.param}.py").write_text(FILES[f"{request.param}.py"])
    (tmp_path / "handler-secret").write_text(f"{SECRET}\n")
    command = ("-m", "flask", "--app", request.param, "run", "--port", str(port := free_port()))
    async with running(tmp_path, *command, says="Running on"):
        yield f"http://127.0.0.1:{port}/callback"


async def test_a_handler_of_the_page_decides_the_calls_that_its_server_signs(store_of, tmp_path, flask):
    await check_handler_of_the_page(flask, store_of(), tmp_path)
