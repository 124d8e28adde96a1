"""The edge: public, stateless HTTP. It makes one message of a request, asks the server, and renders the answer.

A request passes, from the socket on: `server` (connections), `http11` (strict parsing), `app` (what is no call ends
there), `exchange` (limits, the call), `request` (the message), `upstream`, `link` and `stream` (gRPC), `answer` or
`problems` (what goes back). What operators learn of it is in `record` and `metrics`.
"""

import callback_process  # noqa: F401  # before gRPC: it says why
