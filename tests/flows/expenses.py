"""App with expenses to approve: it sends mails, and records the first decision on each."""

import json
import threading

from flask import Flask, Response, request


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
        """Whether it takes an approval. Otherwise the request gets only the white space before its answer."""
        self.takes_approvals.set()

    def _mail(self):
        self.mails.append(request.json)
        return "", 204

    def _decide(self, name):
        if self.failures:
            self.failures -= 1
            return "", 503
        approved = request.json["approved"]

        def body():
            while approved and not self.takes_approvals.wait(0.5):
                yield " "  # clients wait as long as something comes
            yield json.dumps({"approved": self.decisions.setdefault(name, approved)})

        return Response(body(), content_type="application/json")
