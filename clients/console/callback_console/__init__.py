"""The console: callbacks and calls in a browser, for the people who run them.

It is an ordinary client of the server. The server decides what a person may see: each request to it has the
token with which that person signed in. The console itself stores nothing, and has no identity of its own.
`callback_api` is the same for programs: JSON over HTTP, in the process of the console.

The path of a request:

1. `app`: the Quart application. It checks the Host and the origin, and finds the session.
2. `sign_in`, `openid`, `sessions`: a session holds a client of the server, with the token of one person.
3. `views`: one module for each view. `live` tells an open page that something changed.
4. `fields`, `bodies`, `curl`, `comparison`, `words`: what a view shows, as values without HTML. `templates` has the
   HTML. `fields` shows each field of the contract for which a page has no row by hand.
"""

import callback_process  # noqa: F401  # before gRPC is imported: it sets gRPC's own logging
