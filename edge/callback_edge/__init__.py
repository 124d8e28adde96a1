"""Public HTTP side of Callback: it turns a request into one gRPC message and renders the server's answer.

The path of a request:

1. `http`: accepts the connection and parses HTTP/1.1 strictly. Nothing else knows internals of Hypercorn and h11.
2. `app`: the Quart application, whose connections are exchanges.
3. `call`: the exchange applies the limits (`limits`), makes the message and renders the answer.
4. `upstream`: sends the message to a server over a gRPC stream that stays open.
5. `pages`: the answer where there is no call: pages for people, problem+json for programs (`problems`).

`call.request_record` and `metrics` are what operators see of a request.
"""

import callback_process  # noqa: F401  # before gRPC is imported: it sets gRPC's own logging
