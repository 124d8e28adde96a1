"""Callback for tests: a running system with the handlers under test, and requests of outside systems to it.

It requires the extra `up` of this package and, for the fixtures, pytest. In `conftest.py`:

    import pytest
    from shop.handlers import handlers  # a callback.Handlers

    pytest_plugins = ["callback.testing.fixtures"]

    @pytest.fixture(scope="session")
    def callback_handlers():
        return handlers

and in a test, for handlers and for code that generates URLs:

    def test_a_visitor_who_paid_is_redirected(callback_system):
        made = callback_system.client.generate_callback_url("order-paid", Redirect())
        reply = callback_system.visit(made.url + "?status=paid")
        assert (reply.status, reply.location) == (302, "https://shop.example/thankyou")

`callback_system` is a `System`. It starts once per session (in each worker of pytest-xdist), within about a second. It
runs the same store, server and edge as production, on loopback, with its own ports and a temporary directory of pytest.
It stops at the end of the session, and also when pytest is killed. Overview:

- **Code under test** connects to the server at `callback_system.target`. `client` and `async_client()` are clients of
  it.
- **Outside systems**: `send` calls a URL as the sender of a webhook does, `visit` as a browser does. Both return a
  `Reply`, follow no redirects, and have asyncio variants: `async_send` and `async_visit`.
- **Another handler**, for a `with` block: `with callback_system.handling("order-paid", broken): …`.
- **Time**: `callback_system.advance(timedelta(days=3))` moves the time of all callbacks forward, within milliseconds:
  what expires has expired, and reminders are handed out.
- **Settings** are those of the server's TOML file. Your own fixture returns its text:

      @pytest.fixture(scope="session")
      def callback_config():
          return '''
          [server]
          platform_url = "https://shop.example"

          [activities.order-paid]
          deadline_s = 1
          '''

  Activities of `callback_handlers` need no entry. An activity with an entry but no handler can be used with `handling`.
  A call for any other activity waits for a worker until its deadline, as in production. `CALLBACK_…` environment
  variables have no effect.
- **Without pytest**, or for a second system with other settings: `with running_system(handlers) as system: …`.

Tests share the system and its stored data, so use each `request_id` for one callback only. The handlers run in a worker
in the test process, in a thread with its own event loop. They can use objects of the test, and breakpoints work, but
they cannot use futures, queues or connections of the test's event loop. Exceptions of handlers are in the log that
pytest captures. The log of the other processes is in the file `callback_system.log`.
"""

from callback.testing._http import Reply
from callback.testing._system import System, SystemStartError, running_system

__all__ = ["Reply", "System", "SystemStartError", "running_system"]
