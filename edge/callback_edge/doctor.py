"""Checks of `callback doctor` on the machine of an edge: settings, files, and access to its servers.

They use the edge's settings as the edge does, and change nothing.
"""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from callback.v1 import edge_service_pb2, edge_service_pb2_grpc
from callback_edge import credentials
from callback_edge.app import create_app
from callback_edge.brand import Brand, BrandError
from callback_edge.pages.pages import Pages
from callback_edge.pages.template_errors import TemplatesError
from callback_edge.settings import EdgeSettings
from callback_process import findings
from callback_process.certificates import check_tls
from callback_process.credentials import CredentialsError
from callback_process.effective import mask_url
from callback_process.findings import Finding, check_secret_file, unreachable
from callback_process.running import check_running
from callback_shared.addresses import Addresses
from callback_shared.targets import is_local, servers_of

_SERVICE: Final = "callback.v1.EdgeService"
TIMEOUT_S: Final = 3.0
_OPTIONS: Final = (("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0))


def diagnose(config_file: Path | None) -> AsyncIterator[Finding]:
    """Check all that an edge needs. Without a file, CALLBACK_CONFIG names the configuration file."""
    return findings.diagnose("edge settings", EdgeSettings, config_file, CHECKS)


async def check_token(settings: EdgeSettings) -> AsyncIterator[Finding]:
    """Check the token's file, and that the token travels encrypted."""
    if settings.server_token_file is None:
        return
    if settings.server_tls is None and not is_local(settings.server_target):
        yield Finding.warning(
            "edge server_tls",
            f"not set: the token goes to {mask_url(settings.server_target)} in plain text",
            "set server_tls, unless a mesh encrypts",
        )
    finding = check_secret_file("edge server_token_file", settings.server_token_file)
    yield finding
    if not finding.is_problem:
        try:
            credentials.token(settings.server_token_file)
        except CredentialsError as error:
            yield Finding.problem(
                "edge server_token_file", str(error), "write the output of callback token NAME --role edge into it"
            )


async def check_files(settings: EdgeSettings) -> AsyncIterator[Finding]:
    """Check the files of TLS to the servers."""
    if settings.server_tls is not None:
        for finding in check_tls("edge server_tls", settings.server_tls, datetime.now(UTC)):
            yield finding


async def check_proxies(settings: EdgeSettings) -> AsyncIterator[Finding]:
    """Check that the edge can distinguish callers."""
    if settings.trusted_proxies is None:
        yield Finding.warning(
            "edge trusted_proxies",
            "not set: each peer counts as the caller, and because it may be a proxy, no limit per address applies",
            "set it to the proxies in front of this edge, or to [] if there are none",
        )


async def check_templates(settings: EdgeSettings) -> AsyncIterator[Finding]:
    """Check that the templates render every page."""
    if settings.templates_dir is not None:
        check = "edge templates_dir"
        try:
            await Pages.render(create_app(settings), Brand())
        except TemplatesError as error:
            yield Finding.problem(check, str(error), "correct the file, or remove it to use the built-in one")
        else:
            yield Finding.ok(check, f"{settings.templates_dir} renders every page")


async def check_brand(settings: EdgeSettings) -> AsyncIterator[Finding]:
    """Check the files of the brand."""
    if settings.brand_logo_file is not None:
        check = "edge brand_logo_file"
        try:
            settings.load_brand()
        except BrandError as error:
            yield Finding.problem(check, str(error), "correct the file, or leave the setting out")
        else:
            yield Finding.ok(check, f"{settings.brand_logo_file} is an image")


async def check_server(settings: EdgeSettings) -> AsyncIterator[Finding]:
    """Check that each server is reachable and healthy, and accepts calls from this edge."""
    try:
        token = credentials.token(settings.server_token_file).value
        tls = credentials.tls(settings.server_tls).value
    except CredentialsError:
        return  # check_token or check_files reports it
    # Several servers are checked one by one: together, one that answers would hide the others.
    default = "" if "server_target" in settings.model_fields_set else ", the default,"
    has_certificate = settings.server_tls is not None and settings.server_tls.cert_file is not None
    for target in servers_of(settings.server_target):
        async with (
            grpc.aio.insecure_channel(target, options=_OPTIONS)
            if tls is None
            else tls.channel(Addresses(target), _OPTIONS)
        ) as channel:
            finding = await _check_health("edge server_target", target, channel, default)
            yield finding
            if finding.is_problem:
                continue
            finding = await _check_role("edge role", target, channel, token)
            if not finding.is_problem and not has_certificate and await _is_without_principals(channel):
                finding = _without_principals("edge role", target, has_token=bool(token))
            yield finding


async def _check_health(check: str, target: str, channel: grpc.aio.Channel, default: str) -> Finding:
    health: Any = health_pb2_grpc.HealthStub(channel)
    try:
        answer = await health.Check(health_pb2.HealthCheckRequest(service=_SERVICE), timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        return _unreachable(check, target, error)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        seen = f"{mask_url(target)} answers but is not serving"
        return Finding.problem(check, seen, "it stops, or its store does not answer: run callback doctor there")
    return Finding.ok(check, f"{mask_url(target)}{default} is serving")


def _unreachable(check: str, target: str, error: grpc.aio.AioRpcError) -> Finding:
    if error.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND):
        return Finding.problem(check, f"{mask_url(target)} is not a Callback server", "set server_target to one")
    return unreachable(check, target, error.details(), "start the server, or set server_target and server_tls")


async def _check_role(check: str, target: str, channel: grpc.aio.Channel, token: str) -> Finding:
    """Open a stream for calls without sending any."""
    target = mask_url(target)
    try:
        readiness = await _readiness(channel, token)
    except grpc.aio.AioRpcError as error:
        match error.code():
            case grpc.StatusCode.UNAUTHENTICATED:
                return Finding.problem(
                    check,
                    f"{target} does not know this edge: {error.details()}",
                    "give it a token in server_token_file (callback token NAME --role edge), or a certificate in "
                    "server_tls",
                )
            case grpc.StatusCode.PERMISSION_DENIED:
                return Finding.problem(
                    check,
                    f"{target} refuses calls from this edge: {error.details()}",
                    "give its principal the role edge, in the server's principals_file",
                )
            case code:
                return Finding.problem(check, f"{target} answers {code.name}: {error.details()}", "see its log")
    if readiness != edge_service_pb2.READINESS_READY:
        return Finding.problem(check, f"{target} is not ready", "it stops, or its store does not answer: see its log")
    return Finding.ok(check, f"{target} accepts calls from this edge")


async def _is_without_principals(channel: grpc.aio.Channel) -> bool:
    """Return whether a server accepts calls without a token, too."""
    try:
        return await _readiness(channel, "") is not None
    except grpc.aio.AioRpcError:
        return False


async def _readiness(channel: grpc.aio.Channel, token: str) -> int | None:
    """Return what a server says first on a stream for calls. None: it ends the stream. Raise AioRpcError."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    stream = edge_service_pb2_grpc.EdgeServiceStub(channel).StreamInvocations(timeout=TIMEOUT_S, metadata=metadata)
    try:
        first = await stream.read()
    finally:
        stream.cancel()
    return first.readiness if isinstance(first, edge_service_pb2.StreamInvocationsResponse) else None


def _without_principals(check: str, target: str, *, has_token: bool) -> Finding:
    seen = f"{mask_url(target)} accepts calls from every client: it has no principals"
    if not has_token:
        return Finding.ok(check, seen)
    return Finding.warning(
        check,
        f"{seen}, so it may not be the server that this edge has its token for",
        "set server_target in [edge] to that server, or principals_file in [server]",
    )


def check_process(settings: EdgeSettings) -> AsyncIterator[Finding]:
    """Check the edge that runs with these settings, if one does."""
    return check_running("edge process", settings.admin_bind)


CHECKS: Final[tuple[Callable[[EdgeSettings], AsyncIterator[Finding]], ...]] = (
    check_token,
    check_files,
    check_proxies,
    check_templates,
    check_brand,
    check_server,
    check_process,
)
"""Checks, in the order of their findings."""
