"""Verifies signatures by the library of Standard Webhooks for Python.

A line of the input is a message: secret, id, timestamp, signature, and the body in base64, with a tab between them.
An empty header is not sent. The line of the output is `accepted` or `refused`. The programs in other languages do the
same.
"""

import base64
import sys

import standardwebhooks

for line in sys.stdin:
    secret, *values, body = line.rstrip("\n").split("\t")
    headers = zip(("webhook-id", "webhook-timestamp", "webhook-signature"), values, strict=True)
    try:
        standardwebhooks.Webhook(secret).verify(
            base64.b64decode(body), {name: value for name, value in headers if value}, json_parse=False
        )
        print("accepted")
    except (standardwebhooks.WebhookVerificationError, ValueError):
        print("refused")
