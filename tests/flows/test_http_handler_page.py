"""The page on HTTP handlers: its handler in Flask decides calls, and refuses what the server has not signed."""

import httpx
import pytest
from flows.programs import running
from flows.recipes import blocks_of, files_of
from support.http_handlers import OTHER_SECRET, SECRET, http_activity
from support.services import redirect, refusal, running_services
from support.store import free_port

FILES = files_of(blocks_of("http-handlers.md"))


@pytest.fixture
async def flask(tmp_path):
    """Run the handler of the page, and return its URL."""
    (tmp_path / "http_handler.py").write_text(FILES["http_handler.py"])
    (tmp_path / "handler-secret").write_text(f"{SECRET}\n")
    command = ("-m", "flask", "--app", "http_handler", "run", "--port", str(port := free_port()))
    async with running(tmp_path, *command, says="Running on"):
        yield f"http://127.0.0.1:{port}/callback"


async def test_the_handler_of_the_page_decides_the_calls_that_its_server_signs(store_of, tmp_path, flask):
    async with running_services(store_of(), activities={"act": http_activity(flask, tmp_path)}) as services:
        made = await services.generate("act", retryable_after_error=True)
        status = {"name": "status", "value": "open"}
        rejected = await services.call(made, method="get", request_query=[status])
        assert (rejected.response.response_code, rejected.response.response_body) == (422, b"not paid")
        accepted = await services.call(made, method="get", request_query=[status | {"value": "paid"}])
        assert accepted.response == redirect(response_redirect_url="https://shop.example/thankyou")


async def test_the_handler_of_the_page_refuses_other_requests(store_of, tmp_path, flask):
    other = http_activity(flask, tmp_path / "other", OTHER_SECRET)
    async with httpx.AsyncClient() as stranger, running_services(store_of(), activities={"act": other}) as services:
        assert (await stranger.post(flask, content=b"paid")).status_code == 401
        made = await services.generate("act")
        assert (await refusal(services.call(made))).reason == "HANDLER_FAILED"
        assert (await services.ended(made)).failure_detail == "the handler answered 401"
