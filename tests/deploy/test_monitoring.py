"""The alerts and the dashboard in `docs/deploy`: both are valid, metrics exist, and each alert has a runbook."""

import json
import re
import subprocess

import click
import pytest
import yaml
from support.deployed import ALERTS, OPERATIONS, RATIOS, RULES, SAMPLES, runbook_commands
from support.tools import require

from callback_cli.main import cli
from callback_edge import metrics as edge_metrics
from callback_process import admin, certificates
from callback_server import metrics as server_metrics

DASHBOARD = json.loads((SAMPLES / "grafana-dashboard.json").read_text())
EXPRESSIONS = {
    **RATIOS,
    **{rule["alert"]: rule["expr"] for rule in ALERTS},
    **{panel["title"]: " + ".join(each["expr"] for each in panel["targets"]) for panel in DASHBOARD["panels"]},
}


def series():
    """Return the labels of each series of servers and edges, by its name, without those that Prometheus adds."""
    found = {"up": set(), "process_open_fds": set(), "process_max_fds": set()}
    suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
    for module in (server_metrics, edge_metrics, admin, certificates):
        for metric in vars(module).values():
            if hasattr(metric, "_labelnames") and hasattr(metric, "_type"):
                for suffix in suffixes[metric._type]:
                    found[metric._name + suffix] = {*metric._labelnames, *(["le"] if suffix == "_bucket" else [])}
    return found


def test_prometheus_accepts_the_alerts_and_the_expressions_of_the_dashboard(tmp_path):
    rules = [
        {"record": f"panel:{panel['id']}:{target['refId']}", "expr": target["expr"].replace("$__rate_interval", "5m")}
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    command = [require("promtool"), "check", "rules", RULES, file]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_names_series_and_labels_that_exist(name):
    known = series()
    named = set(re.findall(r"\b(?:callback_[a-z_]+|process_[a-z]+_fds|up\b)", EXPRESSIONS[name]))
    assert named
    assert named <= known.keys()
    labels = set().union(*(known[each] for each in named))
    used = re.findall(r"[{,]\s*([a-z]+)\s*(?:=~|!=|=)", EXPRESSIONS[name])
    used += [each for some in re.findall(r"(?:by|on) \(([^)]+)\)", EXPRESSIONS[name]) for each in some.split(", ")]
    assert {*used} <= labels | {"instance", "job"}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_has_a_severity_a_summary_and_a_runbook_whose_commands_exist(rule):
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook"] == f"operations.md#{rule['alert'].lower()}"
    commands = runbook_commands(rule["alert"])
    assert commands
    for text in commands:
        name, *arguments = text.split()
        command = cli.commands[name]
        options = {option for each in command.params if isinstance(each, click.Option) for option in each.opts}
        assert {each for each in arguments if each.startswith("--")} <= options, text


def test_only_alerts_have_a_section():
    assert re.findall(r"^### (Callback[A-Z]\w+)$", OPERATIONS.read_text(), re.MULTILINE) == [
        rule["alert"] for rule in ALERTS
    ]


def test_the_panels_of_the_dashboard_have_ids_of_their_own_and_do_not_overlap():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    covered = set()
    for panel in panels:
        place = panel["gridPos"]
        assert 0 <= place["x"] <= 24 - place["w"]
        squares = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert covered.isdisjoint(squares), panel["title"]
        covered |= squares
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"]["defaults"]["unit"] in ("reqps", "s", "short")
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]+)", json.dumps(panels)))
    assert used <= variables
