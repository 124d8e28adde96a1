"""App with expenses to approve: it sends mails, and records decisions."""

from flask import Flask, request


class Expenses:
    """App. `app` serves it."""

    def __init__(self):
        self.app = Flask("expenses")
        self.app.add_url_rule("/mails", view_func=self._mail, methods=["POST"])
        self.app.add_url_rule("/expenses/<name>", view_func=self._decide, methods=["PUT"])
        self.reset()

    def reset(self):
        """Forget all mails and decisions."""
        self.mails, self.decisions = [], {}

    def _mail(self):
        self.mails.append(request.json)
        return "", 204

    def _decide(self, name):
        self.decisions.setdefault(name, []).append(request.json["approved"])
        return "", 204
