"""The HTTP handler under test in Flask: what `tests/support/http_scenarios.py` asks of a handler."""

import os
import time
from pathlib import Path

from flask import Flask, abort, request

from callback import Notification, UnverifiedRequestError, verify_handler_request

app = Flask(__name__)
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@app.route("/callback", methods=METHODS)
def handle():
    """Do what the case says."""
    try:
        call = verify_handler_request(os.environ["SECRET"], request.headers.items(), request.get_data())
    except UnverifiedRequestError:
        abort(401)
    if isinstance(call, Notification):
        return "", 204
    match call.activity_case:
        case "reject":
            return "no", 422
        case "fail":
            raise RuntimeError("as the scenario says")
        case "wait":
            while not Path("released").exists():
                time.sleep(0.02)
        case "echo":
            headers = {"content-type": "application/x-echo", "x-echo": f"{call.method} {call.headers['x-value']}"}
            return call.body, 200, headers
        case "redirect":
            return "", 307, {"location": f"https://shop.example/{call.query['to']}"}
        case "keep-open":
            return "", 200, {"callback-decision": "keep-open"}
        case "later" if call.attempt == 1:
            return "", 503
        case "large":
            return bytes(1024 * 1024 + 1)
    return f"done {call.attempt}", 201
