"""Settings from options, environment and one TOML file, read once and then frozen.

1. An option wins over the environment, the environment over the file, the file over the default. A setting is taken
   whole from one of them: tables and lists are never merged.
2. One file serves all processes: each reads its own table and those it shares, and a table that no process knows is an
   error, like a key that a table does not know. Unknown environment variables are not: an orchestrator sets some of its
   own that begin like ours.
3. Everything that is wrong is said at once, each with the setting's name, where it came from and what is expected.
   Values are not repeated, for a URL can hold a password.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from callback_process.addresses import parse_bind

CONFIG_VARIABLE = "CALLBACK_CONFIG"
"""Names the TOML file where no option does."""

TABLES = frozenset({"server", "edge", "activities", "profiles"})
"""Every table that the file may have."""

Bind = Annotated[
    str, AfterValidator(lambda text: str(parse_bind(text))), Field(json_schema_extra={"format": "HOST:PORT"})
]
"""A setting that is an address to listen on, `HOST:PORT`."""

StopSeconds = Annotated[float, Field(ge=0, le=24 * 3600)]
"""A setting that is how long a stop may take a step, in seconds."""

LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]
"""A setting that is the least level to log, in upper or lower case."""


class TlsSettings(BaseModel):
    """TLS to somebody. Without files: the system's certificate authorities, and no certificate of our own."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    ca_file: Path | None = None
    """Certificate authorities that the other side's certificate must come from, PEM."""
    cert_file: Path | None = None
    """Our own certificate, PEM; with `key_file`."""
    key_file: Path | None = None
    """The key of our own certificate, PEM."""
    server_name: str | None = None
    """The name that the other side's certificate must have, if it is not the target's."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        return self


class SettingsError(Exception):
    """Settings are wrong. Its text has one line for each problem, fit to be shown as it is."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def config_path(given: Path | None) -> Path | None:
    """The settings file: the one that is given, else the one that CALLBACK_CONFIG names, if any."""
    named = os.environ.get(CONFIG_VARIABLE)
    return given or (Path(named) if named else None)


class ProcessSettings(BaseSettings):
    """The base of a process's settings: declare `table`, `env_prefix` and the fields, then `load()`.

    ```python
    class EdgeSettings(ProcessSettings):
        table: ClassVar[str] = "edge"
        model_config = SettingsConfigDict(env_prefix="CALLBACK_EDGE_")

        bind: Bind = "127.0.0.1:8080"
        \"\"\"Where the edge listens.\"\"\"
    ```

    Making one directly (`EdgeSettings(bind=…)`) reads neither environment nor file: what tests want.
    A list in the environment is written as JSON or with commas, a table as JSON.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    table: ClassVar[str]
    """The process's own table in the file. Its keys are the fields."""
    shared_tables: ClassVar[frozenset[str]] = frozenset()
    """Fields that are top-level tables of the file, not part of the process's own."""

    @classmethod
    def load(cls, config_file: Path | None = None, **overrides: Any) -> Self:
        """Read the settings.

        Args:
            config_file: the TOML file; None takes the one that CALLBACK_CONFIG names, if any.
            **overrides: what was given as options. None means: not given.

        Raises:
            SettingsError: a value is wrong, a key or table is unknown, or the file can not be read.
        """
        settings, _origins = cls.load_with_origins(config_file, **overrides)
        return settings

    @classmethod
    def load_with_origins(cls, config_file: Path | None = None, **overrides: Any) -> tuple[Self, Mapping[str, str]]:
        """Read the settings as `load` does, and say where each came from.

        Returns:
            The settings; and by field, `option`, the variable's name or the file's path. A field that is not there has
            its default.

        Raises:
            SettingsError: as for `load`.
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
            problems += [cls._describe(detail, origins) for detail in error.errors(include_url=False)]
        if problems:
            raise SettingsError(problems)
        return settings, origins

    @classmethod
    def variable(cls, field: str) -> str:
        """The environment variable of a field."""
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
        """Leave the reading to `load`, which knows where each value came from and can say so."""
        return (init_settings,)

    @classmethod
    def _from_file(cls, path: Path) -> dict[str, Any]:
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError([f"{path}: can not be read: {error.strerror}"]) from None
        except ValueError as error:  # not UTF-8, or not TOML: the message names line and column, not the text
            raise SettingsError([f"{path}: is not TOML: {error}"]) from None
        problems = [f"{path}: {name}: unknown; known: {_listed(TABLES)}" for name in sorted(document.keys() - TABLES)]
        problems += [
            f"{path}: {name}: must be a table, [{name}]"
            for name in sorted(document.keys() & TABLES)
            if not isinstance(document[name], dict)
        ]
        if problems:
            raise SettingsError(problems)
        own: Mapping[str, Any] = document.get(cls.table, {})
        problems = [
            f"{path}: [{cls.table}] {name}: belongs in a table of its own, [{name}]"
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
                    problems.append(
                        f"{name} ({variable}): must be JSON, or for a list: values with commas between them"
                    )
                    continue
            found[name] = value, variable
        return found

    @classmethod
    def _describe(cls, detail: ErrorDetails, origins: Mapping[str, str]) -> str:
        location = [str(part) for part in detail["loc"]]
        name = ".".join(location)
        # A rule between fields has no field, and so no single origin.
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
    """Return what is wrong with a value, without the value and without Python's words."""
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
    "union_tag_invalid": "must have a kind that is one of {expected_tags}",
    "union_tag_not_found": "must have a kind",
    "path_type": "must be the path of a file",
}
"""What pydantic says for programmers, by its types of errors, as people who write a file would say it."""


def _decode(text: str) -> Any:
    """Read a list or table from a variable. Raises ValueError."""
    if text.lstrip().startswith(("[", "{")):
        return json.loads(text)
    return [part.strip() for part in text.split(",")]


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))
