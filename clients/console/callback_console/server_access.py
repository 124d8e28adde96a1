"""Access to the server of the settings."""

from typing import Final

from callback import AsyncCallbackClient, Tls, UnauthenticatedError
from callback_console.settings import ConsoleSettings

_TIMEOUT_S: Final = 10.0
"""Time limit of a request, in seconds. A person waits for it."""


def tls_of(settings: ConsoleSettings) -> Tls | None:
    """Return how the server is reached by TLS. None: in plain text."""
    tls = settings.server_tls
    return None if tls is None else Tls(tls.ca_file, server_name=tls.server_name)


def new_client(settings: ConsoleSettings, token: str | None, *, retry: bool = False) -> AsyncCallbackClient:
    """Return a client of the server.

    Args:
        settings: The settings.
        token: Token of the person. None: the server has no principals.
        retry: Whether it sends a request again that was not answered.
    """
    return AsyncCallbackClient(
        settings.server_target,
        tls=tls_of(settings),
        token=token,
        timeout=_TIMEOUT_S,
        retry=retry,
    )


async def is_without_principals(settings: ConsoleSettings) -> bool:
    """Return whether the server needs no token.

    Raises:
        CallbackError: It does not answer.
    """
    async with new_client(settings, None) as client:
        try:
            await client.list_callbacks_page(page_size=1)
        except UnauthenticatedError:
            return False
    return True
