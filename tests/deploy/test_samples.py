"""The samples in `docs/deploy`: their programs accept them, and they contain the required settings."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.deployed import HOST, SAMPLES
from support.tools import require
from support.tree import ROOT

from callback_edge.settings import EdgeSettings
from callback_server.access.principals import read_principals
from callback_server.access.roles import Role
from callback_server.settings import ServerSettings


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


@pytest.mark.parametrize("name", ["callback-server@.service", "callback-edge@.service", "compose.yaml"])
def test_every_variable_of_a_sample_exists(name):
    known = {settings.variable(field) for settings in (ServerSettings, EdgeSettings) for field in settings.model_fields}
    assert variables((SAMPLES / name).read_text()) <= known


# ---- compose.yaml and Dockerfile ----


def test_only_the_proxy_is_reached_from_outside_and_reaches_outside(composed):
    published = {name: each["ports"] for name, each in composed["services"].items() if "ports" in each}
    assert [(str(port["published"]), port["target"]) for port in published.pop("proxy")] == [("443", 8443)]
    assert published == {}
    internal = {name for name, network in composed["networks"].items() if network.get("internal")}
    assert internal == {"control", "front", "store"}
    networks = {name: set(service["networks"]) for name, service in composed["services"].items()}
    assert {name for name, joined in networks.items() if not joined <= internal} == {"proxy"}
    # The proxy reaches nothing but edges, and the store nothing but servers.
    assert {name for name, joined in networks.items() if joined & networks["proxy"]} == {"proxy", "edge-1", "edge-2"}
    assert {name for name, joined in networks.items() if "store" in joined} == {"store", "server-1", "server-2"}
    for n in (1, 2):
        assert (networks[f"server-{n}"], networks[f"edge-{n}"]) == ({"control", "store"}, {"control", "front"})


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
    }  # fmt: skip
    for name in ("edge-1", "edge-2"):
        assert "volumes" not in composed["services"][name]


def test_the_store_keeps_its_promises_and_its_data(composed):
    store = composed["services"]["store"]
    options = dict(zip(store["command"][1::2], store["command"][2::2], strict=True))
    assert options == {
        "--appendonly": "yes", "--appendfsync": "always", "--maxmemory-policy": "noeviction", "--save": "",
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
    assert asked == set(composed["services"]) - {"proxy"}


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
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"python:3.13-slim"}


def test_what_the_image_copies_is_enough_to_build_the_package(tmp_path):
    lines = re.findall(r"^COPY (?!--from)(.+) (\S+)$", (SAMPLES / "Dockerfile").read_text(), flags=re.MULTILINE)
    untracked = shutil.ignore_patterns("node_modules", "__pycache__", "build")
    for names, target in lines:
        for name in names.split():
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, tmp_path / target, ignore=untracked)
            else:
                (tmp_path / target).mkdir(exist_ok=True)
                shutil.copy(ROOT / name, tmp_path / target)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "."]
    subprocess.run([*build, "--wheel-dir", "dist"], cwd=tmp_path, check=True)
    assert [each.suffix for each in (tmp_path / "dist").iterdir()] == [".whl"]


def test_haproxy_and_nginx_use_the_ports_of_the_units():
    units = "".join((SAMPLES / name).read_text() for name in ("callback-edge@.socket", "callback-edge@.service"))
    assert "127.0.0.1:808%i" in units
    assert "127.0.0.1:908%i" in units
    for n in (1, 2):
        nginx = (SAMPLES / "nginx.conf").read_text()
        assert f"server 127.0.0.1:808{n} " in nginx
        assert f"proxy_pass http://127.0.0.1:808{n};" in nginx
        assert f'"${{EDGE_{n}-127.0.0.1}}:808{n}" check port 908{n}' in (SAMPLES / "haproxy.cfg").read_text()
