"""The page on HTTP handlers: its handlers in Flask decide calls, and refuse what the server has not signed."""

import httpx
import pytest
from flows.programs import running
from flows.recipes import blocks_of, files_of
from support.http_handlers import OTHER_SECRET, SECRET, http_activity
from support.services import redirect, refusal, running_services
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
    activities = {
        "act": http_activity(flask, tmp_path),
        "other": http_activity(flask, tmp_path / "other", OTHER_SECRET),
    }
    async with httpx.AsyncClient() as stranger, running_services(store_of(), activities=activities) as services:
        made = await services.generate("act", retryable_after_error=True)
        status = {"name": "status", "value": "open"}
        rejected = await services.call(made, method="get", request_query=[status])
        assert (rejected.response.response_code, rejected.response.response_body) == (422, b"not paid")
        accepted = await services.call(made, body=b"{}", request_query=[status | {"value": "paid"}])
        assert accepted.response == redirect(response_redirect_url="https://shop.example/thankyou")
        assert (await stranger.post(flask, content=b"paid")).status_code == 401
        assert (await refusal(services.call(await services.generate("other")))).reason == "HANDLER_FAILED"
