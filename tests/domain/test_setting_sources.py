"""Settings: the precedence of their sources, and the messages about invalid ones."""

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict

from callback_process.settings import Bind, LogLevel, ProcessSettings, SettingsError


class Activity(BaseModel):
    model_config = ConfigDict(extra="forbid")

    target: str
    deadline_s: float = 8


class Settings(ProcessSettings):
    table: ClassVar[str] = "server"
    shared_tables: ClassVar[frozenset[str]] = frozenset({"activities"})
    model_config = SettingsConfigDict(env_prefix="CALLBACK_")

    grpc_bind: Bind = "127.0.0.1:50051"
    log_level: LogLevel = "INFO"
    state_key: SecretStr | None = None
    grace_s: float = Field(25, gt=0)
    alternative_domains: tuple[str, ...] = ()
    activities: dict[str, Activity] = Field(default_factory=dict)


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALLBACK_CONFIG", raising=False)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"CALLBACK_{name}".upper(), raising=False)


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "callback.toml"
        path.write_text(text)
        return path

    return write


def problems(config_file: Path | None = None, **overrides: object) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.load(config_file, **overrides)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_an_option_overrides_the_environment_which_overrides_the_file_which_overrides_the_default(write, monkeypatch):
    path = write('[server]\ngrpc_bind = "127.0.0.1:1"\ngrace_s = 2\nlog_level = "debug"')
    monkeypatch.setenv("CALLBACK_GRPC_BIND", "127.0.0.1:2")
    monkeypatch.setenv("CALLBACK_GRACE_S", "3")
    settings = Settings.load(path, grpc_bind="127.0.0.1:3", log_level=None)
    assert settings == Settings(grpc_bind="127.0.0.1:3", grace_s=3, log_level="DEBUG")


def test_the_file_is_the_one_that_the_environment_names_unless_an_option_does(write, monkeypatch, tmp_path):
    monkeypatch.setenv("CALLBACK_CONFIG", str(write("[server]\ngrace_s = 4")))
    assert Settings.load().grace_s == 4
    other = tmp_path / "other.toml"
    other.write_text("[server]\ngrace_s = 5")
    assert Settings.load(other).grace_s == 5


def test_a_variable_that_has_nearly_the_name_of_a_setting_is_found(monkeypatch):
    right = ("CALLBACK_EDGE_GRPC_BIND", "CALLBACK_PORT_8080_TCP", "CALLBACK_SERVICE_HOST", "CALLBACK_SERVER_PORT")
    for name in ("CALLBACK_GRPC_BNID", "CALLBACK_SERVER_GRACE_S", *right):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("CALLBACK_LOG_LEVEL", "DEBUG")
    assert list(Settings.misspelt_variables()) == [
        ("CALLBACK_GRPC_BNID", "CALLBACK_GRPC_BIND"),
        ("CALLBACK_SERVER_GRACE_S", "CALLBACK_GRACE_S"),
    ]


def test_one_file_serves_all_processes_and_each_reads_its_own_and_the_shared_tables(write):
    settings = Settings.load(
        write(
            '[server]\ngrace_s = 2\n[edge]\nbind = "127.0.0.1:0"\n[activities.order-paid]\ntarget = "dns:///orders:1"'
        )
    )
    assert settings.activities == {"order-paid": Activity(target="dns:///orders:1")}


def test_the_environment_gives_lists_with_commas_or_as_json_and_tables_as_json(monkeypatch):
    monkeypatch.setenv("CALLBACK_ALTERNATIVE_DOMAINS", "https://a.example, https://b.example")
    monkeypatch.setenv("CALLBACK_ACTIVITIES", '{"paid": {"target": "x:1", "deadline_s": 2}}')
    settings = Settings.load()
    assert settings.alternative_domains == ("https://a.example", "https://b.example")
    assert settings.activities == {"paid": Activity(target="x:1", deadline_s=2)}
    monkeypatch.setenv("CALLBACK_ALTERNATIVE_DOMAINS", '["https://c.example"]')
    assert Settings.load().alternative_domains == ("https://c.example",)


def test_an_empty_variable_counts_as_not_set(monkeypatch):
    monkeypatch.setenv("CALLBACK_STATE_KEY", "")
    assert Settings.load().state_key is None


def test_unknown_variables_with_the_same_prefix_are_ignored(monkeypatch):
    monkeypatch.setenv("CALLBACK_EDGE_SERVICE_HOST", "10.0.0.1")
    assert Settings.load() == Settings()


def test_all_errors_are_reported_at_once_with_name_origin_and_expected_value(write, monkeypatch):
    path = write('[server]\nlog_level = "loud"\nspeed = 1\n[activities.paid]\ntarget = "x:1"\nextra = 1')
    monkeypatch.setenv("CALLBACK_GRACE_S", "0")
    monkeypatch.setenv("CALLBACK_ACTIVITIES", "")
    assert sorted(problems(path, grpc_bind="nowhere")) == [
        f"activities.paid.extra ({path}): unknown",
        "grace_s (CALLBACK_GRACE_S): must be greater than 0",
        "grpc_bind (option): must be HOST:PORT, as in 127.0.0.1:8080",
        f"log_level ([server] of {path}): must be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'",
        f"speed ([server] of {path}): unknown; known: alternative_domains, grace_s, grpc_bind, log_level, state_key",
    ]


def test_a_setting_outside_of_the_tables_of_processes_is_told_where_it_goes(write):
    path = write('box_url = "https://box.example"')
    assert problems(path) == [f"{path}: box_url: must be in the table of its process: [server], [edge] or [console]"]


def test_a_list_that_is_neither_json_nor_comma_separated_is_refused(monkeypatch):
    monkeypatch.setenv("CALLBACK_ALTERNATIVE_DOMAINS", "[https://a.example")
    expected = "must be JSON, or a list of values separated by commas"
    assert problems() == [f"alternative_domains (CALLBACK_ALTERNATIVE_DOMAINS): {expected}"]


def test_no_problem_shows_a_secret(monkeypatch, write):
    assert "hunter2" not in str(problems(write('[server]\nstate_key = ["hunter2"]')))
    monkeypatch.setenv("CALLBACK_ACTIVITIES", '{"paid": "hunter2"}')
    assert "hunter2" not in str(problems())
    monkeypatch.setenv("CALLBACK_ACTIVITIES", "{hunter2")
    assert "hunter2" not in str(problems())
    with pytest.raises(ValidationError) as caught:
        Settings(state_key=["hunter2"])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[sever]", "{path}: sever: unknown; known: activities, console, edge, endpoints, profiles, server"),
        ("server = 1", "{path}: server: must be a table, [server]"),
        ("[server.activities.x]", "{path}: [server] activities: must be a table of its own, [activities]"),
        ("[server", "{path}: not valid TOML: Expected ']' at the end of a table declaration (at end of document)"),
    ],
)
def test_a_file_of_the_wrong_form_is_refused(write, text, expected):
    path = write(text)
    assert problems(path) == [expected.format(path=path)]


def test_a_file_that_is_missing_or_not_text_is_refused(tmp_path):
    path = tmp_path / "callback.toml"
    assert problems(path) == [f"{path}: cannot be read: No such file or directory"]
    path.write_bytes(b"\xff")
    assert problems(path)[0].startswith(f"{path}: not valid TOML: ")


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        Settings().grace_s = 1  # type: ignore[misc]  # the error under test
