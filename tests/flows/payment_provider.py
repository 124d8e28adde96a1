"""Payment provider similar to Mollie: an API with the status, a checkout page, and a webhook with only `id=…`."""

import itertools
import secrets

import httpx
from flask import Flask, abort, jsonify, redirect, request
from flows.serving import button

KEY = "test_key"


class PaymentProvider:
    """Payment provider. `app` serves it as soon as `origin` is set."""

    def __init__(self):
        self.origin = None
        self.app = Flask("payment-provider")
        self.app.add_url_rule("/v2/payments", view_func=self.create, methods=["POST"])
        self.app.add_url_rule("/v2/payments/<name>", view_func=self.show)
        self.app.add_url_rule("/pay/<name>", view_func=lambda name: button("Pay", "Payment"), methods=["GET"])
        self.app.add_url_rule("/pay/<name>", view_func=self.pay, methods=["POST"])
        self.reset()

    def reset(self):
        """Delete all payments."""
        self.payments, self.asked, self.down = {}, [], False
        self.outcome, self.webhook_first = "paid", True
        self.told = []
        """Status codes of the responses to its webhooks."""
        self._numbers = itertools.count(1)

    def _check_key(self):
        if self.down:
            abort(503)
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            abort(401)

    def create(self):
        self._check_key()
        name = f"tr_{next(self._numbers)}{secrets.token_hex(4)}"
        links = {"checkout": {"href": f"{self.origin}/pay/{name}"}}
        self.payments[name] = {"id": name, "status": "open", **request.json, "_links": links}
        return jsonify(self.payments[name]), 201

    def show(self, name):
        self.asked.append(name)
        self._check_key()
        return jsonify(self.payments[name]) if name in self.payments else abort(404)

    def pay(self, name):
        payment = self.payments[name]
        if self.webhook_first:
            self.finish(name)
        return redirect(payment["redirectUrl"])

    def finish(self, name):
        """End a payment, and call its webhook."""
        self.payments[name]["status"] = self.outcome
        self.tell(name)

    def tell(self, name):
        """Call the webhook of a payment."""
        answer = httpx.post(self.payments[name]["webhookUrl"], data={"id": name}, trust_env=False)
        self.told.append(answer.status_code)
