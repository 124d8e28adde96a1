"""Settings from options, environment and one TOML file, read once and then frozen.

1. An option overrides the environment, the environment overrides the file, and the file overrides the default. The
   whole value of a setting comes from one of them: tables and lists are never merged.
2. One file serves all processes. Each process reads its own table and the shared ones. An unknown table or key is an
   error. An unknown environment variable is not: orchestrators set variables with the same prefix. One that has nearly
   the name of a setting is logged.
3. All errors are reported at once, each with the setting's name, its origin and the expected value. Values are not
   repeated, because a URL can contain a password.
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from callback_process.addresses import IPNetwork, parse_bind, parse_network

CONFIG_VARIABLE = "CALLBACK_CONFIG"
"""Environment variable that names the TOML file if no option does."""

TABLES = frozenset({"server", "edge", "console", "activities", "profiles", "endpoints"})
"""Top-level tables of the file."""

Bind = Annotated[
    str, AfterValidator(lambda text: str(parse_bind(text))), Field(json_schema_extra={"format": "HOST:PORT"})
]
"""Setting: address to listen on, `HOST:PORT`."""

Network = Annotated[
    IPNetwork,
    BeforeValidator(lambda value: parse_network(str(value))),
    WithJsonSchema({"type": "string", "format": "ADDRESS/BITS"}),
]
"""Setting: network, or an address, which is a network of one address."""


def parsed_by(parse: Callable[[str], object]) -> AfterValidator:
    """Return a validator that leaves a text as it is, if a function does not raise ValueError for it."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


StopSeconds = Annotated[float, Field(ge=0, le=24 * 3600)]
"""Setting: time limit of one step of a stop, in seconds."""


def _issuer(text: str) -> str:
    """Return the URL of an issuer as it is: a token must name the same, character for character."""
    try:
        parts = urlsplit(text)
        has_place = parts.scheme == "https" and parts.hostname and parts.port != 0
    except ValueError:
        has_place = False
    if not has_place or not text.isascii() or re.search(r"[?#@\s\x00-\x1f\x7f]", text):
        raise ValueError(
            "must be the https URL of the issuer as its tokens have it, without query, as in https://login.example"
        )
    return text


IssuerUrl = Annotated[str, AfterValidator(_issuer), Field(json_schema_extra={"format": "URL"})]
"""Setting: issuer of ID tokens (OpenID Connect Discovery 1.0, 2)."""

LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]
"""Setting: lowest level to log, in upper or lower case."""


class TlsSettings(BaseModel):
    """TLS of a client connection. Without files: the system's certificate authorities, and no client certificate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca_file: Path | None = None
    """Certificate authorities that must have issued the server's certificate, PEM."""
    cert_file: Path | None = None
    """Client certificate, PEM. Needs `key_file`."""
    key_file: Path | None = None
    """Key of the client certificate, PEM."""
    server_name: str | None = None
    """Name that the server's certificate must have, if it is not the target's."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        return self


class SettingsError(Exception):
    """Settings are wrong. The text has one line for each problem, and can be shown to users."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def config_path(given: Path | None) -> Path | None:
    """Return the given settings file, else the one that CALLBACK_CONFIG names, if any."""
    named = os.environ.get(CONFIG_VARIABLE)
    return given or (Path(named) if named else None)


class ProcessSettings(BaseSettings):
    """Base class of a process's settings: declare `table`, `env_prefix` and the fields, then call `load()`.

    ```python
    class EdgeSettings(ProcessSettings):
        table: ClassVar[str] = "edge"
        model_config = SettingsConfigDict(env_prefix="CALLBACK_EDGE_")

        bind: Bind = "127.0.0.1:8080"
        \"\"\"Where the edge listens.\"\"\"
    ```

    The constructor (`EdgeSettings(bind=…)`) reads neither environment nor file, which tests use. In the environment, a
    list is JSON or has commas, and a table is JSON.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    table: ClassVar[str]
    """Table of the process in the file. Its keys are the fields."""
    shared_tables: ClassVar[frozenset[str]] = frozenset()
    """Fields that are top-level tables of the file, outside the process's own table."""

    @classmethod
    def load(cls, config_file: Path | None = None, **overrides: Any) -> Self:
        """Read the settings.

        Args:
            config_file: The TOML file; None means the file that CALLBACK_CONFIG names, if any.
            **overrides: Values of options. None means that the option is absent.

        Raises:
            SettingsError: A value is wrong, a key or table is unknown, or the file cannot be read.
        """
        settings, _origins = cls.load_with_origins(config_file, **overrides)
        return settings

    @classmethod
    def load_with_origins(cls, config_file: Path | None = None, **overrides: Any) -> tuple[Self, Mapping[str, str]]:
        """Read the settings as `load` does, with the origin of each.

        Returns:
            The settings, and for each field its origin: `option`, the name of the environment variable, or the path of
            the file. A field without an origin has its default.

        Raises:
            SettingsError: As for `load`.
        """
        problems: list[str] = []
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        config_file = config_path(config_file)
        if config_file is not None:
            values = cls._from_file(config_file)
            origins = {name: str(config_file) for name in values}
        for name, (value, variable) in cls._from_environment(problems).items():
            values[name], origins[name] = value, variable
        for name, value in overrides.items():
            if value is not None:
                values[name], origins[name] = value, "option"
        try:
            settings = cls(**values)
        except ValidationError as error:
            places = {
                name: f"[{cls.table}] of {origin}"
                if origin == str(config_file) and name not in cls.shared_tables
                else origin
                for name, origin in origins.items()
            }
            problems += [cls._describe(detail, places) for detail in error.errors(include_url=False)]
        if problems:
            raise SettingsError(problems)
        return settings, origins

    @classmethod
    def misspelt_variables(cls) -> Iterator[tuple[str, str]]:
        """Yield each environment variable that is no setting, with the variable of a setting that has nearly its name.

        Other unknown ones are those of orchestrators, or of other processes.
        """
        prefix = str(cls.model_config["env_prefix"])
        of_others = tuple(f"CALLBACK_{table}_".upper() for table in TABLES - {cls.table})
        known = [cls.variable(field).removeprefix(prefix) for field in cls.model_fields]
        for name in sorted(os.environ):
            own = name.removeprefix(prefix)
            if name.startswith(prefix) and own not in known and not name.startswith(of_others):
                # the table is a part of the name for some processes only
                alike = own.removeprefix(f"{cls.table}_".upper())
                for near in difflib.get_close_matches(alike, known, n=1, cutoff=0.8):
                    yield name, prefix + near

    def conflicts(self) -> Iterator[str]:
        """Yield each problem between several settings, each of which is valid by itself."""
        yield from ()

    @model_validator(mode="after")
    def _has_no_conflicts(self) -> Self:
        for problem in self.conflicts():
            raise ValueError(problem)
        return self

    @classmethod
    def variable(cls, field: str) -> str:
        """Return the environment variable of a field."""
        return f"{cls.model_config['env_prefix']}{field}".upper()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Disable the sources of pydantic: `load` reads the values itself, because it reports their origin."""
        return (init_settings,)

    @classmethod
    def _from_file(cls, path: Path) -> dict[str, Any]:
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from None
        except ValueError as error:  # not UTF-8, or not TOML: the message names line and column, not the text
            raise SettingsError([f"{path}: not valid TOML: {error}"]) from None
        problems = [
            f"{path}: {name}: unknown; known: {_listed(TABLES)}"
            if isinstance(document[name], dict)
            else f"{path}: {name}: must be in the table of its process: [server], [edge] or [console]"
            for name in sorted(document.keys() - TABLES)
        ]
        problems += [
            f"{path}: {name}: must be a table, [{name}]"
            for name in sorted(document.keys() & TABLES)
            if not isinstance(document[name], dict)
        ]
        if problems:
            raise SettingsError(problems)
        own: Mapping[str, Any] = document.get(cls.table, {})
        problems = [
            f"{path}: [{cls.table}] {name}: must be a table of its own, [{name}]"
            for name in sorted(own.keys() & cls.shared_tables)
        ]
        if problems:
            raise SettingsError(problems)
        return {**own, **{name: document[name] for name in cls.shared_tables & document.keys()}}

    @classmethod
    def _from_environment(cls, problems: list[str]) -> dict[str, tuple[Any, str]]:
        source = EnvSettingsSource(cls)
        found: dict[str, tuple[Any, str]] = {}
        for name, field in cls.model_fields.items():
            value, _key, is_complex = source.get_field_value(field, name)
            if value is None:
                continue
            variable = cls.variable(name)
            if is_complex or source.field_is_complex(field):
                try:
                    value = _decode(value)
                except ValueError:
                    problems.append(f"{name} ({variable}): must be JSON, or a list of values separated by commas")
                    continue
            found[name] = value, variable
        return found

    @classmethod
    def _describe(cls, detail: ErrorDetails, origins: Mapping[str, str]) -> str:
        location = [str(part) for part in detail["loc"]]
        name = ".".join(location)
        # A rule between fields has no field, so it has no single origin.
        origin = origins.get(location[0], "default") if location else ""
        if detail["type"] == "extra_forbidden":
            message = (
                f"unknown; known: {_listed(cls.model_fields.keys() - cls.shared_tables)}"
                if len(location) == 1
                else in_plain_words(detail)
            )
        else:
            message = in_plain_words(detail)
        return f"{name} ({origin}): {message}" if location else message


def in_plain_words(detail: ErrorDetails) -> str:
    """Describe what is wrong with a value, without the value and without Python terms."""
    if detail["type"] in _PLAIN:
        return _PLAIN[detail["type"]].format_map(detail.get("ctx", {}))
    return detail["msg"].removeprefix("Value error, ").replace("Input should", "must").replace("String should", "must")


_PLAIN = {
    "missing": "must be given",
    "extra_forbidden": "unknown",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "too_short": "must have at least {min_length} of them",
    "too_long": "must have at most {max_length} of them",
    "union_tag_invalid": "must have a kind that is one of {expected_tags}",
    "union_tag_not_found": "must have a kind",
    "path_type": "must be the path of a file",
}
"""Messages for people who write settings files, by pydantic's error types."""


def _decode(text: str) -> Any:
    """Parse a list or table from an environment variable. Raise ValueError if it is invalid."""
    if text.lstrip().startswith(("[", "{")):
        return json.loads(text)
    return [part.strip() for part in text.split(",")]


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))
