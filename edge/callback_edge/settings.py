"""The edge's settings."""

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from callback_process.settings import Bind, LogLevel, ProcessSettings


class EdgeSettings(ProcessSettings):
    """What one edge process needs to know: table `[edge]` of the file, `CALLBACK_EDGE_…` in the environment."""

    table: ClassVar[str] = "edge"
    model_config = SettingsConfigDict(env_prefix="CALLBACK_EDGE_")

    bind: Bind = "127.0.0.1:8080"
    """Where callers reach the edge, in HTTP/1.1. Port 0 picks one."""
    admin_bind: Bind = "127.0.0.1:8081"
    """Where `/healthz` and `/readyz` answer. Keep it away from callers. Port 0 picks one."""
    server_target: Annotated[str, Field(min_length=1)] = "127.0.0.1:50051"
    """The server, as a gRPC target: `HOST:PORT`, or `dns:///HOST:PORT` to spread calls over all its addresses."""
    body_limit_bytes: Annotated[int, Field(ge=0, le=8 * 1024 * 1024)] = 1024 * 1024
    """The largest request body; beyond it a caller gets a 413. At most 8 MiB: it travels in one message."""
    body_timeout_s: Annotated[float, Field(gt=0)] = 10
    """How long a whole request body may take to arrive, in seconds; beyond it a caller gets a 408."""
    invoke_timeout_s: Annotated[float, Field(gt=0)] = 330
    """How long to wait for the server's answer, in seconds. No lease is longer than 310."""
    grace_s: Annotated[float, Field(ge=0)] = 25
    """How long calls that are running may go on once the process is asked to stop, in seconds."""
    log_level: LogLevel = "INFO"
    """The least level to log."""
