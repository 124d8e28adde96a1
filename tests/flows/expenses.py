"""App with expenses to approve: it sends mails, and records the first decision on each."""

import threading

from flask import Flask, request


class Expenses:
    """App. `app` serves it."""

    def __init__(self):
        self.app = Flask("expenses")
        self.app.add_url_rule("/mails", view_func=self._mail, methods=["POST"])
        self.app.add_url_rule("/expenses/<name>", view_func=self._decide, methods=["PUT"])
        self.reset()

    def reset(self):
        """Forget all mails and decisions, and take decisions."""
        self.mails, self.decisions = [], {}
        self.failures = 0
        """How many decisions it refuses now."""
        self.takes_approvals = threading.Event()
        """Whether it takes an approval. Otherwise the request waits."""
        self.takes_approvals.set()

    def _mail(self):
        self.mails.append(request.json)
        return "", 204

    def _decide(self, name):
        if self.failures:
            self.failures -= 1
            return "", 503
        if request.json["approved"]:
            self.takes_approvals.wait(30)
        return {"approved": self.decisions.setdefault(name, request.json["approved"])}
