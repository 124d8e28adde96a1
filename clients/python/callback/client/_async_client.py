"""Client of a Callback server: what it does beyond the contract. `AsyncMethods` has the other methods.

Source of `_sync_client.py`: run `python3 tasks.py generate` after each change.
"""

from collections.abc import Collection, Iterable

from callback._converters import (
    audit_chain_from_proto,
    call_from_proto,
    callback_from_proto,
    new_callback_to_proto,
)
from callback._decisions import Answer, Reject
from callback._errors import CallbackError, DeadlineExceededError, UnavailableError
from callback._reason_errors import TooManyWatchersError
from callback._values import AuditChain, AuditHead, Call, Callback, GeneratedCallback, NewCallback, Response
from callback.client import _arguments
from callback.client import _async_grpc as grpc_io
from callback.client._async_methods import AsyncMethods
from callback.connection._backoff import wait_backoff
from callback.v1 import callbacks_service_pb2 as messages
from callback.v1.audit_service_pb2_grpc import AuditServiceStub
from callback.v1.callbacks_service_pb2_grpc import CallbacksServiceStub


class AsyncCallbackClient(AsyncMethods):
    """An asyncio client of one Callback server.

        async with AsyncCallbackClient("127.0.0.1:50051") as client:
            callback = await client.generate_callback_url("order-paid", Redirect("/page/thankyou"))
            print(callback.url)

    The client connects with its first request, and reconnects by itself. It serves any number of concurrent requests:
    an asyncio client on the event loop of the first one, a synchronous client from any thread.

    Every method takes a `timeout` in seconds, and raises `CallbackError` or a subclass, never an error of gRPC. While
    the server or its store is unreachable, the client sends the request again with exponential backoff until the
    timeout; then it raises `UnavailableError`. All requests are safe to send twice (see `generate_callback_url` for its
    condition). A value of the wrong type raises a `TypeError` that names it.

    Without a `request_id`, `generate_callback_url` makes one, so that it can send the request again after a lost
    response without creating a second case. That covers one call of the method: to be safe across a restart of your
    program, give a `request_id` of your own, such as the order number. A server without a `state_key` refuses request
    ids. The client then sends the request without one, once: if that response is lost, a case may exist whose URL is
    lost too. A `time_to_live` closes such a case.

    Args:
        target: `host:port`, or another gRPC target such as `dns:///callback:50051` or `unix:/run/callback.sock`. With
            several, as in `a:50051,b:50051`, it uses the first one that it can reach; of the addresses of one name,
            any of them. While it is in use, it looks the names up every 5 seconds, and after a failure.
        tls: The authorities to trust, and the client's certificate. Default: no TLS. A token then crosses the network
            in plain text, which is logged once as a warning unless the target is on this machine.
        token: The bearer token, or a function that returns it and is called with every request.
        token_file: A file with the bearer token. It is read with every request, so that a new token takes effect
            without a restart. While the file is unusable, the last token stays in use.
        timeout: The timeout of each request in seconds, unless a method is given another one.
        retry: False sends every request once, and raises at once if the server is unreachable: for interactive
            programs.

    Raises:
        TypeError: `tls` or `timeout` has the wrong type.
        ValueError: The target is not valid or has no port, the timeout is not a positive, finite number, `token` and
            `token_file` are both given, the token is malformed, or a file of `tls` has no usable content. A method
            raises it if a token function returns a malformed token.
        OSError: `token_file` or a file of `tls` cannot be read.
    """

    async def generate_callback_urls(
        self, requests: Iterable[NewCallback], *, traceparent: str = "", timeout: float | None = None
    ) -> list[GeneratedCallback | CallbackError]:
        """Store up to 500 cases durably and return their URLs.

            results = await client.generate_callback_urls(
                NewCallback(activity="order-paid", response=Redirect(), request_id=order) for order in orders
            )

        A request that fails does not keep the others from their URLs, so look at each result.

        Args:
            requests: What `generate_callback_url` takes, of each callback. Together at most 4 MiB. Without a
                `request_id`, each gets one, as there.
            traceparent: The W3C trace context of your program, as the header `traceparent` has it. Default: none.
            timeout: Timeout in seconds. Default: that of the client.

        Returns:
            A result for each request, in their order: the callback, or the error that `generate_callback_url` raises.
            After an `UnavailableError` there, the case may exist: send the request again with the same `request_id`.

        Raises:
            InvalidRequestError: There is no request, or there are too many. No case was created.
            UnavailableError: No response arrived. Safe to send again with the same ids.
            TypeError: A request is not a `NewCallback`, or an attribute of it has the wrong type.
        """
        made = [_arguments.message("a request", each, NewCallback, new_callback_to_proto) for each in requests]
        return await self._generate_all(made, traceparent, timeout)

    async def set_response(
        self, case_id: str, response: Response, *, reset: Collection[str] = (), timeout: float | None = None
    ) -> Callback:
        """Replace attributes of the response of a case that is not closed, and return the case.

        A call that runs or is held is answered with the new response, if it is accepted. So a handler can set the
        response of its own call.

        Args:
            case_id: The case.
            response: The attributes to replace: each one that is not None, including the type. `Response(type=None, …)`
                keeps the case's type.
            reset: Names of attributes of a `Response`, such as `body`, to reset to their default. All but `type`.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The resulting response is not valid.
            NotFoundError: The case does not exist.
            CallbackClosedError: The case is closed.
            UnavailableError: No response arrived. Safe to send again.
            ValueError: `reset` names another attribute, or one that `response` sets.
        """
        request = _arguments.set_response_request(case_id, response, reset)
        reply = await self._call(
            lambda channel: CallbacksServiceStub(channel).SetResponse, request, self._backoff(timeout)
        )
        return callback_from_proto(reply.callback)

    async def answer_call(self, call_id: str, answer: Answer | Reject = None, *, timeout: float | None = None) -> Call:
        """Answer a held call (answer mode HOLD, activity `form`), and return it.

            async for call in client.list_owner_calls(CallFilter.WAITING):
                await client.answer_call(call.call_id, Redirect("/page/thankyou"))

        Sending the same answer again has no effect. A call can be answered after its case was closed.

        Args:
            call_id: The call.
            answer: The decision, as a handler makes it: a `Response` overrides that of the case, attribute by
                attribute; None keeps it; `Accept` can keep the case open, or close it; `Reject` rejects the call.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The resulting response is not valid.
            NotFoundError: The call does not exist.
            CallAnsweredError: The call already has another answer, or ended without one.
            CallNotHeldError: The handler decides on the call.
            UnavailableError: No response arrived. Safe to send again.
        """
        request = _arguments.answer_call_request(call_id, answer)
        reply = await self._call(
            lambda channel: CallbacksServiceStub(channel).AnswerCall, request, self._backoff(timeout)
        )
        return call_from_proto(reply.call)

    async def resolve_callback(
        self, case_id: str, answer: Answer | Reject = None, *, timeout: float | None = None
    ) -> Callback:
        """Give a case that holds calls (answer mode HOLD, activity `form`) its answer, and return the case.

        The calls that are held now get the answer, and so does each later call, at once. So a webhook can answer the
        visitor, whichever of the two comes first:

            await client.resolve_callback(visitor_case_id, Redirect("/page/thankyou"))

        Sending the same answer again has no effect. A closed case still answers the calls that it holds. A `Reject` of
        a case with `retryable_after_error` answers only the calls that are held now.

        Args:
            case_id: The case.
            answer: The decision, as a handler makes it: a `Response` overrides that of the case, attribute by
                attribute; None keeps it; `Reject` rejects the calls.
            timeout: Timeout in seconds. Default: that of the client.

        Raises:
            InvalidRequestError: The resulting response is not valid.
            NotFoundError: The case does not exist.
            CallNotHeldError: The handler decides on the calls of the case.
            CallbackResolvedError: The case already has another answer.
            CallbackClosedError: The case is closed and holds no calls.
            UnavailableError: No response arrived. Safe to send again, except that a `Reject` of a case with
                `retryable_after_error` rejects the call that is held then.
            ValueError: The answer keeps the case open, or closes it.
        """
        request = _arguments.resolve_callback_request(case_id, answer)
        reply = await self._call(
            lambda channel: CallbacksServiceStub(channel).ResolveCallback, request, self._backoff(timeout)
        )
        return callback_from_proto(reply.callback)

    async def verify_audit(
        self, heads: Iterable[AuditHead] = (), *, timeout: float | None = None
    ) -> tuple[AuditChain, ...]:
        """Verify the audit: find entries that were altered, removed, inserted or moved. Requires the role admin.

        Args:
            heads: Heads of an earlier verification, kept outside of the store. Newest entries that were removed are
                found by them.
            timeout: Timeout of each page of chains in seconds. Default: that of the client.

        Returns:
            The result of each chain.

        Raises:
            InvalidRequestError: A head is none.
            PermissionDeniedError: The principal lacks the role admin.
            UnavailableError: No response arrived.
        """
        kept, chains, token = [*heads], list[AuditChain](), ""
        while True:
            request = _arguments.verify_audit_request(kept, page_token=token)
            reply = await self._call(
                lambda channel: AuditServiceStub(channel).VerifyAudit, request, self._backoff(timeout)
            )
            chains += map(audit_chain_from_proto, reply.chains)
            token = reply.next_page_token
            if not token:
                return tuple(chains)

    async def wait_for_call(self, case_id: str, *, after: int = 0, timeout: float) -> Call:
        """Wait for a call of a case to end, and return it with its body.

            made = await client.generate_callback_url("record", Response("thank you"))
            …  # give made.url to the outside system
            call = await client.wait_for_call(made.case_id, timeout=3600)

        No call is missed between generating the URL and waiting: a call that ended before is returned at once. To wait
        for the next call, pass the number of the last one as `after`. While the server is away, the wait goes on.

        The wait is a watch: while nothing happens to the case, nothing is requested. Only a wait that exceeds the
        number of watches that a server allows looks again and again, about once a second.

        Args:
            case_id: The case.
            after: Only calls with a greater `attempt`: 0 for the first call, `call.attempt` for the one after `call`.
                If several have ended, the earliest one that is still stored is returned.
            timeout: How long to wait, in seconds. `math.inf` waits without a limit.

        Raises:
            TimeoutError: No such call ended in time.
            CallbackClosedError: The case is closed, and has no such call.
            NotFoundError: The case does not exist.
            UnavailableError: The server is unreachable, and the client has `retry=False`.
            TooManyWatchersError: The server has its limit of watches, and the client has `retry=False`.
            ValueError: The timeout is not a positive number.
        """
        request = messages.WatchCallsRequest(callback_case_id=case_id)
        backoff, watch, is_new = wait_backoff(timeout, longest=1.0), None, True
        try:
            while True:
                remaining = max(backoff.remaining, 0.1)
                try:
                    if call := await self._find_ended_call(case_id, after, timeout=min(self._timeout, remaining)):
                        return call
                    if watch is None:
                        watch, is_new = await self._watch(request, self._timeout, ends_in=min(remaining, 3600)), True
                    await self._until_change(watch, is_new=is_new)
                    is_new = False
                    continue
                except (UnavailableError, TooManyWatchersError) as error:  # the server is away: the wait goes on
                    # At the end of the wait, its own error says more.
                    is_at_end = isinstance(error, DeadlineExceededError) and (watch or remaining <= self._timeout)
                    if not self._retry and not is_at_end:
                        raise
                except CallbackError:
                    if watch is None or is_new or self._closed:
                        raise  # else the watch has ended: the next look says why, as with a token that was replaced
                if watch is not None:
                    watch.cancel()
                    watch = None
                if backoff.remaining <= 0:
                    raise TimeoutError(f"no call of the callback {case_id} ended within {timeout:g} s")
                await grpc_io.sleep(min(backoff.next_pause(), max(backoff.remaining, 0)))
        finally:
            if watch is not None:
                watch.cancel()

    async def _find_ended_call(self, case_id: str, after: int, *, timeout: float) -> Call | None:
        """Return the earliest stored call after the number `after` that has ended, with its body; None if none has."""
        callback = await self.get_callback(case_id, timeout=timeout)
        calls: list[Call] = []
        if callback.call_count > after:
            async for call in self.list_calls(case_id, page_size=100, timeout=timeout):
                if call.attempt <= after:
                    break
                calls.append(call)
        found = _arguments.find_awaited_call(callback, calls)
        return await self.get_call(found.call_id, timeout=timeout) if found else None
