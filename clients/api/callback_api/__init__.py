"""The API: the services of the contract as JSON over HTTP, by the Connect protocol, for programs without gRPC.

The console serves it. It is an ordinary client of the server: each request has the bearer token of its caller, and the
server decides what that caller may do. Nothing of the pages counts here: no session, no cookie, no form.

The path of a request:

1. `application`: an ASGI application in front of that of the pages. It refuses what is not a request of the API, and
   limits the rest. connectrpc then reads the request by the rules of the protocol.
2. `codecs`: messages as JSON and as protobuf.
3. `forwarding`: sends the request to the server by gRPC, with the bearer token.
4. `errors`: errors of gRPC as errors of the protocol.

`openapi.json` describes it. It is generated from the contract: `python3 tasks.py generate`.
"""
