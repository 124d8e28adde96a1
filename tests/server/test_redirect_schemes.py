"""Redirects into an app: only to the schemes that the operator lists, and never to those that a browser acts on."""

import pytest
from support.services import redirect, refusal, running_services

from callback.v1 import callback_pb2 as pb

NEVER = ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "file:///etc/passwd", "blob:https://a/b"]


@pytest.fixture
async def services(store_of):
    async with running_services(store_of(), redirect_schemes=["shopapp"]) as running:
        yield running


async def test_a_caller_is_redirected_into_an_app_that_the_operator_lists(services):
    made = await services.generate("record", response=redirect(response_redirect_url="shopapp://paid?order=5"))
    assert (await services.call(made)).response.response_redirect_url == "shopapp://paid?order=5"


async def test_a_page_links_into_an_app_that_the_operator_lists(services):
    page = pb.Response(
        response_type=pb.RESPONSE_TYPE_PAGE,
        response_heading="Paid",
        response_link_label="Back to the app",
        response_link_url="shopapp:paid",
    )
    made = await services.generate("record", response=page)
    assert (await services.call(made)).response.response_link_url == "shopapp:paid"


@pytest.mark.parametrize("url", ["otherapp://paid", *NEVER])
async def test_any_other_scheme_is_refused(services, url):
    refused = await refusal(services.generate("record", response=redirect(response_redirect_url=url)))
    rule = "redirect_schemes" if url.startswith("other") else "target_url"
    assert (refused.reason, refused.rules) == ("INVALID_REQUEST", {"response.response_redirect_url": rule})


async def test_a_response_that_was_set_stays_valid_on_a_server_without_its_scheme(store_of):
    store = store_of()
    async with running_services(store, redirect_schemes=["shopapp"]) as services, running_services(store) as without:
        made = await services.generate("record", response=redirect(response_redirect_url="shopapp://paid"))
        assert (await without.call(made)).response.response_redirect_url == "shopapp://paid"
        (call,) = await services.list_calls(made)
        assert call.status == pb.CALL_STATUS_SUCCEEDED
