"""Payment, in a browser.

Neither the webhook nor the returning visitor is proof of a payment, so the handler asks the provider.
"""

import asyncio

import httpx
import pytest
from flows.payment_provider import KEY, PaymentProvider
from flows.serving import serving

from callback import CallbackStatus, CloseReason

ORDER = "order-5"
PAGES = ("/page/thankyou", "/page/waiting", "/page/cancelled")


@pytest.fixture(scope="module")
def running():
    provider = PaymentProvider()
    with serving(provider.app, "127.0.0.6") as provider.origin:
        yield provider


@pytest.fixture
def provider(running, world):
    running.reset()
    world.platform.pages.update({path: f"<title>{path}</title>" for path in PAGES})
    return running


@pytest.fixture
async def shop(provider, listening):
    async with listening("payment.py", MOLLIE_API=f"{provider.origin}/v2", MOLLIE_API_KEY=KEY) as names:
        yield names


@pytest.fixture
async def payment(shop, world, provider):
    """Start a payment, and return it as the provider knows it. `checkout` is the URL for the visitor."""
    checkout = await shop["begin"](world.patient, ORDER, "10.00")
    (payment,) = provider.payments.values()
    return payment | {"checkout": checkout, "state": payment["redirectUrl"].rpartition("/")[2]}


async def case_of(world, activity):
    newest = await world.client.list_callbacks_page(activity=activity, page_size=1)
    return newest.items[0]


async def test_a_visitor_who_paid_lands_on_the_platform_once(page, world, provider, shop, payment, lands_on):
    await page.goto(payment["checkout"])
    await page.click("#go")
    await lands_on("/page/thankyou", payment["state"])
    assert (shop["paid"], provider.told) == ({ORDER}, [200])
    assert provider.asked == [payment["id"]] * 2
    assert (await case_of(world, "payment-return")).close_reason is CloseReason.CONSUMED
    webhook = await case_of(world, "payment-webhook")
    assert (webhook.status, webhook.call_count) == (CallbackStatus.OPEN, 1)

    await page.goto(payment["redirectUrl"])
    await lands_on("/page/thankyou", payment["state"])
    assert (await page.goto(f"{payment['redirectUrl']}?another=1")).status == 410
    assert len(provider.asked) == 2


@pytest.mark.parametrize("outcome", ["canceled", "failed", "expired"])
async def test_a_visitor_who_did_not_pay_lands_on_another_page(world, provider, shop, payment, outcome):
    provider.outcome = outcome
    async with httpx.AsyncClient(follow_redirects=True) as visitor:
        landed = await visitor.post(payment["checkout"])
    assert str(landed.url) == f"{world.platform.origin}/page/cancelled"
    assert (shop["paid"], provider.told) == (set(), [200])


async def test_a_visitor_who_returns_before_the_payment_waits_and_comes_again(
    page, world, provider, shop, payment, lands_on
):
    provider.webhook_first = False
    await page.goto(payment["checkout"])
    await page.click("#go")
    await lands_on("/page/waiting", payment["state"])
    assert (await case_of(world, "payment-return")).status is CallbackStatus.OPEN

    await asyncio.to_thread(provider.finish, payment["id"])
    assert (shop["paid"], provider.told) == ({ORDER}, [200])
    await page.goto(payment["redirectUrl"])
    await lands_on("/page/thankyou", payment["state"])


FORGED = [
    b"", b"id=", b"id=tr_other", b"id=../../customers", b"status=paid", b'{"id": "tr_other", "status": "paid"}',
    b"\xff\0",
]  # fmt: skip


async def test_a_forged_webhook_does_not_mark_an_order_as_paid(page, world, provider, shop, payment, lands_on):
    async with httpx.AsyncClient(trust_env=False) as anyone:
        for body in FORGED:
            sent = {"content": body, "headers": {"content-type": "application/x-www-form-urlencoded"}}
            assert (await anyone.post(payment["webhookUrl"], **sent)).status_code == 200
        assert provider.asked == []
        told = await anyone.post(payment["webhookUrl"], data={"id": payment["id"], "status": "paid"})
        assert (told.status_code, provider.asked) == (200, [payment["id"]])
    await page.goto(f"{payment['redirectUrl']}?status=paid&id={payment['id']}")
    await lands_on("/page/waiting", payment["state"])
    assert shop["paid"] == set()


async def test_while_the_provider_is_unreachable_no_payment_is_accepted_and_none_is_lost(
    page, provider, shop, payment, lands_on
):
    provider.down = True
    await page.goto(payment["checkout"])
    async with page.expect_response(payment["redirectUrl"]) as answered:
        await page.click("#go")
    assert ((await answered.value).status, provider.told, shop["paid"]) == (502, [502], set())

    provider.down = False
    await asyncio.to_thread(provider.tell, payment["id"])
    assert (provider.told[-1], shop["paid"]) == (200, {ORDER})
    await page.goto(payment["redirectUrl"])
    await lands_on("/page/thankyou", payment["state"])
