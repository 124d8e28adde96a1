"""Access to the server of the settings."""

from typing import Final

from callback import AsyncCallbackClient, InvalidRequestError, Tls, UnauthenticatedError
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


def lacks_owner(error: InvalidRequestError) -> bool:
    """Return whether a request was refused because it names no owner, and its principal has no callbacks of its own."""
    return [(each.field, each.rule) for each in error.violations] == [("owner", "required")]


async def check_access(client: AsyncCallbackClient) -> None:
    """Check that a principal may list callbacks: its own, or those of other owners that it answers.

    Raises:
        CallbackError: It may not, or the server does not answer.
    """
    try:
        await client.list_callbacks_page(page_size=1)
    except InvalidRequestError as error:
        if not lacks_owner(error):
            raise


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
