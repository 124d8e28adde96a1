"""Checks of `callback doctor` on the machine of a console: settings, files, its OpenID provider and its servers.

They use the console's settings as the console does, and change nothing.
"""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from callback import CallbackError
from callback_console.openid import OpenId
from callback_console.server_access import is_without_principals
from callback_console.settings import ConsoleSettings
from callback_process import findings
from callback_process.certificates import check_tls
from callback_process.effective import mask_url
from callback_process.findings import Finding, check_secret_file, unreachable
from callback_process.settings import SettingsError
from callback_shared.targets import servers_of


def diagnose(config_file: Path | None) -> AsyncIterator[Finding]:
    """Check all that a console needs. Without a file, CALLBACK_CONFIG names the configuration file."""
    return findings.diagnose("console settings", ConsoleSettings, config_file, CHECKS)


def has_settings(config_file: Path | None) -> bool:
    """Return whether the file or the environment has a setting of a console. Many machines run none."""
    try:
        _settings, origins = ConsoleSettings.load_with_origins(config_file)
    except SettingsError:
        return True
    return bool(origins)


async def check_files(settings: ConsoleSettings) -> AsyncIterator[Finding]:
    """Check the files of TLS to the servers."""
    if settings.server_tls is not None:
        for finding in check_tls("console server_tls", settings.server_tls, datetime.now(UTC)):
            yield finding


async def check_openid(settings: ConsoleSettings) -> AsyncIterator[Finding]:
    """Check that people can sign in at the OpenID provider."""
    if settings.openid is None:
        return
    check, issuer = "console openid", settings.openid.issuer
    if settings.openid.client_secret_file is not None:
        finding = check_secret_file(f"{check}.client_secret_file", settings.openid.client_secret_file)
        yield finding
        if finding.is_problem:
            return
    try:
        problem = await OpenId(settings.openid).problem()
    except (OSError, ValueError) as error:
        yield Finding.problem(check, str(error), "correct the file")
        return
    if problem:
        yield Finding.problem(
            check,
            f"the configuration of {issuer} cannot be used: {problem}",
            "correct issuer or ca_file in [console.openid], or let the console connect to it",
        )
    else:
        yield Finding.ok(check, f"the configuration of {issuer} can be fetched")


async def check_server(settings: ConsoleSettings) -> AsyncIterator[Finding]:
    """Check that each server is reachable, and that it asks for a token where people on other machines can sign in."""
    check = "console server_target"
    default = "" if "server_target" in settings.model_fields_set else ", the default,"
    for target in servers_of(settings.server_target):
        where = f"{mask_url(target)}{default}"
        try:
            is_open = await is_without_principals(settings.model_copy(update={"server_target": target}))
        except (OSError, ValueError):
            return  # check_files reports it
        except CallbackError as error:
            yield unreachable(check, target, error.message, "start the server, or set server_target and server_tls")
            continue
        if not is_open:
            yield Finding.ok(check, f"{where} is serving")
        elif settings.is_local:
            yield Finding.ok(check, f"{where} is serving every client: it has no principals")
        else:
            yield Finding.problem(
                check,
                f"{where} has no principals, so this console lets no one sign in",
                "set server_target in [console] to the server that you mean, or principals_file in [server]",
            )


CHECKS: Final[tuple[Callable[[ConsoleSettings], AsyncIterator[Finding]], ...]] = (
    check_files,
    check_openid,
    check_server,
)
"""Checks, in the order of their findings."""
