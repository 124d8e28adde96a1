"""Display of the effective settings: all of them, with their origins, and without secrets."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from callback_edge.settings import EdgeSettings
from callback_process.effective import effective_settings, mask_url
from callback_process.reference import settings_page
from callback_process.settings import Bind, ProcessSettings, TlsSettings


class Activity(BaseModel):
    """A handler."""

    target: str
    """Where it is."""
    deadline_s: float = Field(default=8, gt=0, le=300)
    """How long it may take."""
    tls: TlsSettings | None = None
    """TLS to it."""


class Settings(ProcessSettings):
    table: ClassVar[str] = "server"
    shared_tables: ClassVar[frozenset[str]] = frozenset({"activities"})
    model_config = SettingsConfigDict(env_prefix="CALLBACK_")

    grpc_bind: Bind = "127.0.0.1:50051"
    """Where it listens,
    in a few | words."""
    store_url: str = "redis://127.0.0.1"
    """The store."""
    state_key: SecretStr | None = Field(default=None, min_length=32)
    """A secret."""
    key_file: Path | None = None
    """A path."""
    domains: list[str] | None = None
    """Others."""
    activities: dict[str, Activity] = Field(default_factory=dict)
    """Who is asked."""


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch):
    monkeypatch.delenv("CALLBACK_CONFIG", raising=False)
    for name in Settings.model_fields:
        monkeypatch.delenv(Settings.variable(name), raising=False)


def shown(*loaded):
    return {".".join([*each.table, each.key]): (each.value, each.origin) for each in effective_settings(*loaded)}


def test_each_setting_has_its_origin_down_to_the_keys_of_tables_within(tmp_path, monkeypatch):
    file = tmp_path / "callback.toml"
    file.write_text('[server]\nkey_file = "/etc/key"\n[activities.paid]\ntarget = "x:1"\ntls.ca_file = "/etc/ca"')
    monkeypatch.setenv("CALLBACK_DOMAINS", "https://a.example,https://b.example")
    assert shown(*Settings.load_with_origins(file, grpc_bind="127.0.0.1:1")) == {
        "server.grpc_bind": ("127.0.0.1:1", "option"),
        "server.store_url": ("redis://127.0.0.1", "default"),
        "server.state_key": (None, "default"),
        "server.key_file": ("/etc/key", str(file)),
        "server.domains": (["https://a.example", "https://b.example"], "CALLBACK_DOMAINS"),
        "activities.paid.target": ("x:1", str(file)),
        "activities.paid.deadline_s": (8, "default"),
        "activities.paid.tls.ca_file": ("/etc/ca", str(file)),
        "activities.paid.tls.cert_file": (None, "default"),
        "activities.paid.tls.key_file": (None, "default"),
        "activities.paid.tls.server_name": (None, "default"),
    }


@pytest.mark.parametrize("origin", ["option", "variable", "file"])
def test_secrets_are_masked_from_every_origin(origin, tmp_path, monkeypatch):
    secrets = {
        "state_key": "hunter2" * 5,
        "store_url": "redis://me:hunter2@store:1/0",
        "domains": ["https://a:hunter2@b"],
    }
    file = tmp_path / "callback.toml"
    if origin == "option":
        loaded = Settings.load_with_origins(**secrets)
    elif origin == "file":
        file.write_text("[server]\n" + "\n".join(f"{name} = {value!r}" for name, value in secrets.items()))
        loaded = Settings.load_with_origins(file)
    else:
        for name, value in secrets.items():
            monkeypatch.setenv(Settings.variable(name), value if isinstance(value, str) else value[0])
        loaded = Settings.load_with_origins()
    found = effective_settings(*loaded)
    assert "hunter2" not in str(found)
    assert {each.key: each.value for each in found if each.is_secret} == {
        "state_key": "***", "store_url": "redis://me:***@store:1/0", "domains": ["https://a:***@b"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://store:6379/0", "redis://store:6379/0"),
        ("redis://me:hunter2@store:6379/0", "redis://me:***@store:6379/0"),
        ("redis://:hunter2@store", "redis://:***@store"), ("redis://hunter2@store", "redis://***@store"),
        ("redis://:hun@ter2@store", "redis://:***@store"), ("redis://:12/hunter2@store/0", "redis://:***@store/0"),
        ("redis://me:12?hunter2@store", "redis://***"), ("redis://me:12#hunter2@store", "redis://***"),
        ("redis://store/0?password=hunter2", "redis://store/0?***"),
        ("redis://store/0?password=hun@ter2", "redis://***"),
        ("unix:///run/store.sock?db=1", "unix:///run/store.sock?***"), ("dns:///orders:50051", "dns:///orders:50051"),
        ("me:hunter2@store:1", "me:***@store:1"), ("orders:50051", "orders:50051"), ("what? nothing", "what? nothing"),
    ],
)  # fmt: skip
def test_a_password_in_a_url_is_masked_however_it_is_written(url, masked):
    assert mask_url(url) == masked


def test_networks_are_shown_in_their_written_form():
    edge = EdgeSettings(trusted_proxies=["192.0.2.1", "10.0.0.0/24", "2001:db8::/48"])
    assert shown(edge, {})["edge.trusted_proxies"] == (["192.0.2.1/32", "10.0.0.0/24", "2001:db8::/48"], "default")


def test_a_value_of_an_unknown_type_is_not_shown():
    class Odd(ProcessSettings):
        table: ClassVar[str] = "server"
        model_config = SettingsConfigDict(arbitrary_types_allowed=True)
        secret: bytes = b"hunter2"

    with pytest.raises(TypeError, match="bytes"):
        effective_settings(Odd(), {})


class Square(BaseModel):
    """With four sides."""

    kind: Literal["square"]
    """Which it is."""


class Circle(BaseModel):
    """Without any."""

    kind: Literal["circle", "disc"]
    """Which it is."""
    colours: list[Path] = []
    """In files."""


def test_a_table_with_several_kinds_has_one_section_for_each():
    class Shapes(ProcessSettings):
        table: ClassVar[str] = "server"
        shared_tables: ClassVar[frozenset[str]] = frozenset({"shapes"})
        shapes: dict[str, Annotated[Square | Circle, Field(discriminator="kind")]] = Field(default_factory=dict)
        """Some."""
        shape: Annotated[Square | Circle, Field(discriminator="kind")] | None = None
        """One."""

    page = settings_page({"callback server": Shapes}).partition("\n## `")[2]
    head = "| Key | Value | Default | Description |\n| --- | --- | --- | --- |\n"
    assert page == (
        "[shapes.NAME]`, kind `square` and `[server.shape]`, kind `square`\n\nWith four sides.\n\n"
        f"{head}| `kind` | `square` | required | Which it is. |\n\n"
        "## `[shapes.NAME]`, kind one of `circle`, `disc` and `[server.shape]`, kind one of `circle`, `disc`\n\n"
        f"Without any.\n\n{head}| `kind` | one of `circle`, `disc` | required | Which it is. |\n"
        "| `colours` | list of paths of files | none | In files. |\n"
    )


def test_the_page_has_every_setting_with_variable_value_bounds_default_and_meaning():
    page = settings_page({"callback server": Settings}).partition("## ")[2]
    assert page == (
        """\
callback server

Table `[server]`, variables `CALLBACK_…`.

| Key and variable | Value | Default | Description |
| --- | --- | --- | --- |
| `grpc_bind`<br>`CALLBACK_GRPC_BIND` | `HOST:PORT` | `127.0.0.1:50051` | Where it listens, in a few \\| words. |
| `store_url`<br>`CALLBACK_STORE_URL` | text | `redis://127.0.0.1` | The store. |
| `state_key`<br>`CALLBACK_STATE_KEY` | text, secret, at least 32 characters | none | A secret. |
| `key_file`<br>`CALLBACK_KEY_FILE` | path of a file | none | A path. |
| `domains`<br>`CALLBACK_DOMAINS` | list of text | none | Others. |

## `[activities.NAME]`

A handler.

| Key | Value | Default | Description |
| --- | --- | --- | --- |
| `target` | text | required | Where it is. |
| `deadline_s` | number, more than 0, at most 300 | `8` | How long it may take. |
| `tls` | table | none | TLS to it. |

## `[activities.NAME.tls]`

TLS of a client connection. Without files: the system's certificate authorities, and no client certificate.

| Key | Value | Default | Description |
| --- | --- | --- | --- |
"""
        "| `ca_file` | path of a file | none | Certificate authorities that must have issued the server's certificate,"
        " PEM. |\n"
        "| `cert_file` | path of a file | none | Client certificate, PEM. Needs `key_file`. |\n"
        "| `key_file` | path of a file | none | Key of the client certificate, PEM. |\n"
        "| `server_name` | text | none | Name that the server's certificate must have, if it is not the target's. |\n"
    )


def test_a_setting_without_a_docstring_is_an_error_of_the_page():
    class Silent(ProcessSettings):
        table: ClassVar[str] = "server"
        model_config = SettingsConfigDict(env_prefix="CALLBACK_")
        speed: int = 1

    with pytest.raises(KeyError, match="description"):
        settings_page({"callback server": Silent})
