"""The samples in `docs/deploy`: their programs accept them, and they contain the required settings."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
import trustme
import yaml
from soak.counts import SOAK
from support.deployed import HOST, SAMPLES, sample
from support.store import free_port
from support.tools import require
from support.tree import ROOT

from callback_console.settings import ConsoleSettings
from callback_edge.settings import EdgeSettings
from callback_server.access.principals import read_principals
from callback_server.access.roles import Role
from callback_server.settings import ServerSettings

SETTINGS = (ServerSettings, EdgeSettings, ConsoleSettings)


@pytest.fixture(scope="session")
def composed():
    """Return the compose file as Compose resolves it."""
    program, text = require("docker-compose"), (SAMPLES / "compose.yaml").read_text()
    version = subprocess.run([program, "version", "--short"], capture_output=True, check=True, text=True).stdout
    if version.startswith("1."):  # the Compose of Debian 12 does not know this line
        text = text.replace("name: callback\n", "")
    command = [program, "--project-directory", str(SAMPLES), "-f", "-", "config"]
    return yaml.safe_load(subprocess.run(command, input=text, capture_output=True, check=True, text=True).stdout)


def ours(composed):
    """Return the services that run the image of this repository."""
    return {name: service for name, service in composed["services"].items() if service["image"].startswith("callback")}


# ---- Configuration ----


def test_a_server_accepts_the_configuration():
    settings = ServerSettings.load(SAMPLES / "callback.toml", grpc_bind="127.0.0.1:0")
    assert settings.box_url == f"https://{HOST}"
    assert settings.principals_file == Path("/etc/callback/principals.toml")


def test_the_principals_are_one_for_each_kind_of_client():
    known = read_principals(SAMPLES / "principals.toml").entries
    assert {name: set(entry.roles) for name, entry in known.items()} == {
        "edge": {Role.EDGE},
        "orders": {Role.OWNER},
        "alice": {Role.OWNER},
        "operator": {Role.ADMIN},
    }


def variables(text):
    """Return the names of Callback's environment variables in a text."""
    return set(re.findall(r"\bCALLBACK_[A-Z_]+\b", text)) - {"CALLBACK_CONFIG"}


@pytest.mark.parametrize(
    "name", ["callback-server@.service", "callback-edge@.service", "callback-console.service", "compose.yaml"]
)
def test_every_variable_of_a_sample_exists(name):
    known = {settings.variable(field) for settings in SETTINGS for field in settings.model_fields}
    assert variables((SAMPLES / name).read_text()) <= known


# ---- compose.yaml and Dockerfile ----


def test_only_the_proxy_is_reached_from_outside_and_reaches_outside(composed):
    published = {name: each["ports"] for name, each in composed["services"].items() if "ports" in each}
    assert [(str(port["published"]), port["target"]) for port in published.pop("proxy")] == [("443", 8443)]
    # The others are reached on this machine alone.
    assert {name: [str(port).count("127.0.0.1") for port in ports] for name, ports in published.items()} == {
        "console": [1], "prometheus": [1],
    }  # fmt: skip
    internal = {name for name, network in composed["networks"].items() if network.get("internal")}
    assert internal == {"control", "front", "store"}
    networks = {name: set(service["networks"]) for name, service in composed["services"].items()}
    assert {name for name, joined in networks.items() if not joined <= internal} == {"proxy", "console", "prometheus"}
    # The proxy reaches nothing but edges, and the store nothing but servers.
    assert {name for name, joined in networks.items() if joined & networks["proxy"]} == {"proxy", "edge-1", "edge-2"}
    assert {name for name, joined in networks.items() if "store" in joined} == {"store", "server-1", "server-2"}
    for n in (1, 2):
        assert (networks[f"server-{n}"], networks[f"edge-{n}"]) == ({"control", "store"}, {"control", "front"})


def test_prometheus_reads_the_admin_port_of_each_process(composed):
    jobs = yaml.safe_load((SAMPLES / "prometheus-compose.yml").read_text())["scrape_configs"]
    read = {target for job in jobs for each in job["static_configs"] for target in each["targets"]}
    assert read == {
        f"{name}:{bind.rpartition(':')[2]}"
        for name, service in ours(composed).items()
        for variable, bind in service["environment"].items()
        if variable.endswith("ADMIN_BIND")
    }
    assert len(read) == len(ours(composed))
    for name in ours(composed):
        assert composed["services"][name]["networks"].keys() & composed["services"]["prometheus"]["networks"].keys()


@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus-compose.yml"])
def test_prometheus_accepts_its_configuration(name):
    command = [require("promtool"), "check", "config", "--syntax-only", SAMPLES / name]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {job["job_name"] for job in yaml.safe_load((SAMPLES / name).read_text())["scrape_configs"]} == {
        "callback-server", "callback-edge", "callback-console",
    }  # fmt: skip


def test_each_container_has_limits_and_each_server_remembers_its_store(composed):
    for name, service in composed["services"].items():
        assert service["mem_limit"], name
        assert service["pids_limit"], name
    for n in (1, 2):
        server = composed["services"][f"server-{n}"]
        assert server["environment"]["CALLBACK_STORE_EPOCHS_FILE"] == "/var/lib/callback/epochs.json"
        assert f"server-{n}" in str(server["volumes"])


def test_no_container_can_change_its_system(composed):
    for name, service in composed["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        user = service.get("user") or re.findall(r"^USER (.+)$", (SAMPLES / "Dockerfile").read_text(), re.MULTILINE)[-1]
        assert int(user.partition(":")[0]) > 0, name


def test_secrets_come_from_files_and_each_has_only_its_own(composed):
    secrets = {
        name: {secret["source"] for secret in service.get("secrets", ())}
        for name, service in composed["services"].items()
    }
    assert secrets == {
        "store": set(),
        "server-1": {"state-key"}, "server-2": {"state-key"},
        "edge-1": {"edge-token"}, "edge-2": {"edge-token"},
        "proxy": {"callback.pem"},
        "console": set(), "prometheus": set(),
    }  # fmt: skip
    for name in ("edge-1", "edge-2"):
        assert "volumes" not in composed["services"][name]


def test_the_store_keeps_its_promises_and_its_data(composed):
    store = composed["services"]["store"]
    options = dict(zip(store["command"][1::2], store["command"][2::2], strict=True))
    assert options == {
        "--appendonly": "yes", "--appendfsync": "always", "--save": "",
        "--maxmemory": "1gb", "--maxmemory-policy": "noeviction",
    }  # fmt: skip
    # Compose 1 writes the short form.
    (volume,) = store["volumes"]
    assert volume == "store:/data:rw" or (volume["type"], volume["target"]) == ("volume", "/data")


def test_a_container_has_more_time_to_stop_than_its_process_needs(composed):
    longest_s = max(settings.model_fields["drain_s"].default for settings in (ServerSettings, EdgeSettings))
    longest_s += max(settings.model_fields["grace_s"].default for settings in (ServerSettings, EdgeSettings))
    for name, service in ours(composed).items():
        assert int(re.fullmatch(r"(\d+)s", service["stop_grace_period"])[1]) > longest_s + 5, name


def test_every_container_except_the_proxy_has_a_health_check(composed):
    asked = {name for name, service in composed["services"].items() if "healthcheck" in service}
    assert asked | ours(composed).keys() == set(composed["services"]) - {"proxy"}
    check = re.search(
        r"^HEALTHCHECK .*?CMD (\[.*?\])$", (SAMPLES / "Dockerfile").read_text(), re.MULTILINE | re.DOTALL
    )[1]
    _python, _c, program = json.loads(check.replace("\\\n", ""))
    for name, service in ours(composed).items():
        found = [value for variable, value in service["environment"].items() if variable.endswith("ADMIN_BIND")]
        assert len(found) == 1, name
    with socket.create_server(("127.0.0.1", 0)) as closed:
        settings = {"CALLBACK_ADMIN_BIND": f"127.0.0.1:{closed.getsockname()[1]}"}
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    assert (ran.returncode, "Connection refused" in ran.stderr) == (1, True)


def test_the_image_is_built_from_the_repository_and_from_hashed_packages():
    text = (SAMPLES / "Dockerfile").read_text()
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, flags=re.MULTILINE) for name in line.split()
    ]
    assert copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    installs = re.findall(r"pip install .*", text)
    assert len(installs) == 2
    assert all("--require-hashes" in line or " . " in line for line in installs)
    assert all("--no-deps" in line for line in installs)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}"}
    assert "ARG BASE=python:3.13-slim\n" in text
    lock = (ROOT / "requirements" / "image.lock").read_text()
    assert "\nopentelemetry-exporter-otlp-proto-grpc==" in lock  # or the setting `tracing` does not work


def copy_into(directory):
    """Copy what the first stage of the image copies."""
    lines = re.findall(r"^COPY (?!--from)(.+) (\S+)$", (SAMPLES / "Dockerfile").read_text(), flags=re.MULTILINE)
    untracked = shutil.ignore_patterns("node_modules", "__pycache__", "build")
    for names, target in lines:
        for name in names.split():
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, directory / target, ignore=untracked)
            else:
                (directory / target).mkdir(exist_ok=True)
                shutil.copy(ROOT / name, directory / target)


def test_what_the_image_copies_is_enough_to_build_the_package(tmp_path):
    copy_into(tmp_path)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "."]
    subprocess.run([*build, "--wheel-dir", "dist"], cwd=tmp_path, check=True)
    assert [each.suffix for each in (tmp_path / "dist").iterdir()] == [".whl"]


@pytest.mark.skipif(not SOAK, reason="it installs some sixty packages")
def test_the_steps_of_the_image_make_a_program_that_runs(tmp_path):
    source, installed = tmp_path / "source", tmp_path / "installed"
    source.mkdir()
    copy_into(source)
    first = (SAMPLES / "Dockerfile").read_text().replace("\\\n", "").partition("\nFROM ${BASE}\n")[0]
    steps = re.findall(r"^RUN (.*)$", first, re.MULTILINE)
    assert len(steps) == 3
    for step in steps:
        step = step.replace("/opt/callback", str(installed)).replace("python -m venv", f"{sys.executable} -m venv")
        subprocess.run(step, shell=True, check=True, cwd=source, env={"PATH": os.environ["PATH"]})
    for command in ("server", "edge", "console", "doctor"):
        subprocess.run([installed / "bin" / "callback", command, "--help"], check=True, capture_output=True)
    exporter = "import opentelemetry.exporter.otlp.proto.grpc.trace_exporter"
    subprocess.run([installed / "bin" / "python", "-c", exporter], check=True)


def test_nginx_accepts_the_sample_for_the_console(tmp_path):
    made = trustme.CA().issue_cert("console.example")
    made.cert_chain_pems[0].write_to_path(tmp_path / "console.pem")
    made.private_key_pem.write_to_path(tmp_path / "console.key")
    site = sample("console-nginx.conf", {"/etc/nginx/": f"{tmp_path}/", "listen [::]:443 ssl http2;": ""})
    (tmp_path / "site.conf").write_text(site.replace("listen 443", f"listen 127.0.0.1:{free_port()}"))
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; events {{}} http {{ access_log off; include {tmp_path}/site.conf; }}"
    )
    command = [require("nginx"), "-t", "-c", tmp_path / "nginx.conf", "-e", tmp_path / "error.log"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "proxy_pass http://127.0.0.1:8083;" in site
    assert "CALLBACK_CONSOLE_BIND=127.0.0.1:8083\n" in (SAMPLES / "callback-console.service").read_text()


def test_haproxy_and_nginx_use_the_ports_of_the_units():
    units = "".join((SAMPLES / name).read_text() for name in ("callback-edge@.socket", "callback-edge@.service"))
    assert "127.0.0.1:808%i" in units
    assert "127.0.0.1:908%i" in units
    for n in (1, 2):
        nginx = (SAMPLES / "nginx.conf").read_text()
        assert f"server 127.0.0.1:808{n} " in nginx
        assert f"proxy_pass http://127.0.0.1:808{n};" in nginx
        assert f'"${{EDGE_{n}-127.0.0.1}}:808{n}" check port 908{n}' in (SAMPLES / "haproxy.cfg").read_text()


def test_the_firewall_knows_the_grpc_ports_of_the_units_and_refuses_the_others():
    assert "CALLBACK_GRPC_BIND=127.0.0.1:5005%i\n" in (SAMPLES / "callback-server@.service").read_text()
    rules = [line.strip() for line in (SAMPLES / "grpc.nft").read_text().splitlines() if "dport" in line]
    assert all(rule.startswith("tcp dport { 50051, 50052 } ") for rule in rules)
    assert [rule.split()[-1] for rule in rules] == ["accept", "accept", "reset"]


async def test_the_reproduction_of_endless_headers_sends_them_to_a_grpc_port():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        program = [sys.executable, SAMPLES / "continuation.py", "127.0.0.1", str(port), "0.1"]
        running = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
        said, _ = await running.communicate()
    finally:
        await server.stop(0)
    assert (running.returncode, said.split()[1:]) == (0, [b"MB", b"sent"])
