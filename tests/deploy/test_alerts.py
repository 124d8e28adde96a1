"""Each alert in `docs/deploy`: what it fires on, and what it must not fire on. Prometheus' own tool evaluates them.

A series has values by the minute, in the notation of promtool: `0+1x9` is 0, 1, … 9, and `5x9` is ten times 5.
"""

import subprocess
from datetime import timedelta

import pytest
import yaml
from support.deployed import ALERTS, RULES
from support.tools import require

DAY_S = 86_400
REQUESTS = 'callback_edge_requests_total{method="POST",family="cb",status="2xx"}'
FAILED = 'callback_calls_total{activity="work",outcome="FAILED",reason="HANDLER_ERROR"}'
SUCCEEDED = 'callback_calls_total{activity="work",outcome="SUCCEEDED",reason=""}'
UNREACHABLE = '{activity="(other)",outcome="NOT_STARTED",reason="HANDLER_UNREACHABLE"}'
TRIED = 'callback_deliveries_total{activity="work",outcome="PENDING",reason="HANDLER_ERROR"}'
DELIVERED = 'callback_deliveries_total{activity="work",outcome="DELIVERED",reason=""}'
REFUSED = 'callback_verifications_failed_total{profile="shop",reason="signature",enforced="true"}'
LIMITED = 'callback_refused_total{method="StreamInvocations",reason="TOO_MANY_REQUESTS",limit="a_limit"}'
TOO_FEW = 'callback_store_replication_seconds_count{instance="s",outcome="too_few"}'
SERVER = '{job="callback-server",instance="s"}'

FIRES = {
    "CallbackProcessGone": {f"up{SERVER}": "1 0x9"},
    "CallbackVersionsDiffer": {
        'callback_build_info{instance="s",version="1"}': "1x99",
        'callback_build_info{instance="e",version="2"}': "1x99",
    },
    "CallbackFileDescriptorsLow": {f"process_open_fds{SERVER}": "41x9", f"process_max_fds{SERVER}": "48x9"},
    "CallbackStoreUnavailable": {"callback_store_up": "0x9"},
    "CallbackStoreRefused": {"callback_store_partitions_refused": "1x9"},
    "CallbackStepsLost": {"callback_store_steps_lost_total": "0 7x9"},
    "CallbackReplicasBehind": {TOO_FEW: "0+9x9"},
    "CallbackStoreFaults": {'callback_store_faults_total{fault="no_call"}': "0 1x9"},
    "CallbackClocksDiffer": {"callback_store_clock_skew_seconds": "-2x9"},
    "CallbackRetentionOff": {f"callback_retention_seconds{SERVER}": f"{400 * DAY_S}x9"},
    "CallbackStoreMemoryFills": {
        'callback_store_memory_bytes{node=""}': "600+1x360",
        'callback_store_memory_limit_bytes{node=""}': "1000x360",
    },
    "CallbackAuditWrong": {'callback_audit_problems_total{problem="missing"}': "0 1x9"},
    "CallbackEdgeWithoutServer": {
        'callback_edge_server_up{instance="e"}': "0x9",
        'callback_store_up{instance="s"}': "1x9",
    },
    "CallbackCallersSeeErrors": {'callback_edge_errors_total{code="internal"}': "0+2x9", REQUESTS: "0+100x9"},
    "CallbackLimitReached": {LIMITED: "0+5x9"},
    "CallbackCallsFail": {FAILED: "0+1x19", SUCCEEDED: "0+9x19"},
    "CallbackNotServed": {f"callback_calls_total{UNREACHABLE}": "0+1x19"},
    "CallbackCallsInterrupted": {"callback_leases_ended_total": "0 1x9"},
    "CallbackDeliveriesFail": {TRIED: "0+1x9", DELIVERED: "0x9"},
    "CallbackDeliveriesDead": {'callback_deliveries_total{activity="work",outcome="DEAD",reason=""}': "0 1x9"},
    "CallbackDeliveriesStayDead": {"callback_dead_calls": "1x400"},
    "CallbackDeliveriesLate": {"callback_oldest_waiting_delivery_seconds": "1000x9"},
    "CallbackHeldCallsPileUp": {"callback_held_calls": "300x19"},
    "CallbackHeldCallsLate": {"callback_oldest_held_call_seconds": f"{2 * DAY_S}x9"},
    "CallbackVerificationsFail": {REFUSED: "0 1x9 2x9 3x9"},
    "CallbackKeysNotFetched": {'callback_key_fetches_total{profile="shop",outcome="failed"}': "0+1x29"},
    "CallbackCertificateExpires": {'callback_certificate_expires_time_seconds{file="tls_cert_file"}': f"{DAY_S}x9"},
    "CallbackAccessExpires": {"callback_access_expires_time_seconds": f"{DAY_S}x9"},
    "CallbackReloadFailed": {'callback_reloads_failed_total{file="principals"}': "0 1x9"},
}
"""For each alert the series on which it fires, and no other, when they end."""
SILENT = {
    "a restart": {f"up{SERVER}": "1 0 1x9"},
    "a store that is half full, and grows slowly": {
        'callback_store_memory_bytes{node=""}': "600+0.1x360", 'callback_store_memory_limit_bytes{node=""}': "1000x360",
    },
    "a store without a limit": {'callback_store_memory_bytes{node=""}': "600+1x360"},
    "a job of others": {
        'up{job="node"}': "0x9", 'process_open_fds{job="node"}': "9x9", 'process_max_fds{job="node"}': "9x9",
    },
    "an upgrade": {
        'callback_build_info{instance="s",version="1"}': "1x9 _x99",
        'callback_build_info{instance="e",version="2"}': "1x99",
    },
    "a single error of the store": {'callback_store_errors_total{instance="s",outcome="unknown"}': "0 1x9"},
    "a single batch that is not confirmed": {TOO_FEW: "0 1x9"},
    "a retention that works": {
        f"callback_retention_seconds{SERVER}": f"{7 * DAY_S}x99", f"callback_store_up{SERVER}": "1x99",
        f"callback_retention_applied_time_seconds{SERVER}": "0+60x99",
    },
    "a few errors among few requests": {'callback_edge_errors_total{code="internal"}': "0 4x9", REQUESTS: "0+1x9"},
    "some errors among many requests": {'callback_edge_errors_total{code="internal"}': "0+2x9", REQUESTS: "0+9000x9"},
    "what anyone can cause, and what a handler has chosen": {
        'callback_edge_problems_total{code="prefetch_refused"}': "0+99x9",
        'callback_edge_requests_total{method="POST",family="cb",status="5xx"}': "0+99x9", REQUESTS: "0+1x9",
    },
    "a lone failed call": {FAILED: "0 1x19", SUCCEEDED: "0+1x19"},
    "two failed calls": {FAILED: "0 2x19", SUCCEEDED: "0+1x19"},
    "failed calls among many": {FAILED: "0+1x19", SUCCEEDED: "0+99x19"},
    "a call that met a restart": {f"callback_calls_total{UNREACHABLE}": "0 1x19"},
    "retries among deliveries": {TRIED: "0+1x9", DELIVERED: "0+9x9"},
    "failures before a correction": {TRIED: "0+9x9 81x99", DELIVERED: "0x9 9x99"},
    "two forged requests": {REFUSED: "0 1x9 2x9"},
    "a token that does not expire": {"callback_access_expires_time_seconds": "Inf Inf Inf Inf Inf Inf Inf Inf"},
    "held calls as usual": {"callback_held_calls": "150x19"},
    "a limit that a burst has reached": {LIMITED: "0 8x9"},
}  # fmt: skip
"""Series on which no alert fires."""


def minutes(notation):
    """Return how many values the notation has, less one."""
    return sum(int(part.rpartition("x")[2]) + 1 if "x" in part else 1 for part in notation.split()) - 1


def run(directory, series, expected):
    """Check by promtool which alerts fire at the end of the series, by name."""
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{max(map(minutes, series.values()))}m",
                "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in expected],
            }
        ],
    }
    file = directory / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}))
    command = [require("promtool"), "test", "rules", file]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_an_alert_fires_on_its_fault_and_no_other_does(tmp_path, alert):
    run(tmp_path, FIRES[alert], [alert])


@pytest.mark.parametrize("name", SILENT)
def test_no_alert_fires(tmp_path, name):
    run(tmp_path, SILENT[name], [])


def test_an_edge_without_a_server_is_no_fault_of_its_own_while_the_store_is_down(tmp_path):
    series = {'callback_edge_server_up{instance="e"}': "0x9", 'callback_store_up{instance="s"}': "0x9"}
    run(tmp_path, series, ["CallbackStoreUnavailable"])


def test_deliveries_that_fail_ever_less_often_still_fire(tmp_path):
    """The backoff of a delivery grows to an hour. An alert on what is overdue would never see it."""
    sparse = " ".join(f"{n}x59" for n in range(int(timedelta(hours=10).total_seconds() // 3600)))
    run(tmp_path, {TRIED: sparse, DELIVERED: "0x599"}, ["CallbackDeliveriesFail"])


def test_a_slow_burn_fires_after_a_while(tmp_path):
    """1 % of errors are ten times what the aim allows, too few for the fast alert."""
    series = {'callback_edge_errors_total{code="internal"}': "0+1x400", REQUESTS: "0+100x400"}
    run(tmp_path, series, ["CallbackCallersSeeErrors"])
