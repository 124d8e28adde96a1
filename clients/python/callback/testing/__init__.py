"""Callback for tests: a running system, with handlers under test, and the outside world that calls its URLs.

It needs `pip install 'callback[up]'` and, for the fixtures, pytest. In `conftest.py`::

    import pytest
    from shop.handlers import handlers  # a callback.Handlers

    pytest_plugins = ["callback.testing.fixtures"]

    @pytest.fixture(scope="session")
    def callback_handlers():
        return handlers

and in a test, of handlers and of code that generates URLs alike::

    def test_a_visitor_who_paid_is_sent_on(callback_system):
        made = callback_system.client.generate_callback_url("order-paid", Redirect())
        reply = callback_system.visit(made.url + "?status=paid")
        assert (reply.status, reply.location) == (302, "https://shop.example/thankyou")

`callback_system` is a `System`. It starts once a session (in each worker of pytest-xdist), within about a second, with
the store, server and edge that run in production, on loopback, on ports of its own and in a directory of pytest's. It
stops at the end of the session, and also when pytest is killed. In short:

- **Code under test** finds the server at `callback_system.target`; `client` and `async_client()` are clients of it.
- **The outside**: `send` calls a URL as a webhook's sender does, `visit` as a browser does. Both return a `Reply`,
  follow no redirect, and have a twin for asyncio, `async_send` and `async_visit`.
- **Another handler**, for a `with` block: `with callback_system.handling("order-paid", broken): …`.
- **Settings** are those of the server's own file; a fixture of yours returns its text::

      @pytest.fixture(scope="session")
      def callback_config():
          return '''
          [server]
          platform_url = "https://shop.example"

          [activities.order-paid]
          deadline_s = 1
          '''

  An activity needs no entry if it is one of `callback_handlers`. One with an entry and no handler can be named in
  `handling`. A call for any other waits for a worker until its deadline, as in production. No `CALLBACK_…` variable of
  the environment has an effect.
- **Without pytest**, or for a second system with other settings: `with running_system(handlers) as system: …`.

Tests share the system, and so what was stored: use a `request_id` for one callback only. Handlers run as a worker does,
on an event loop and in a thread of their own of the test's process: they may use what the test set up, and breakpoints
work, but no future, queue or connection that belongs to the test's own loop. What a handler raises is in pytest's
captured log; what the processes say is in the file `callback_system.log`.
"""

from callback.testing._http import Reply
from callback.testing._system import System, SystemStartError, running_system

__all__ = ["Reply", "System", "SystemStartError", "running_system"]
