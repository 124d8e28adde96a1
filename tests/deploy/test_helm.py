"""The chart in `docs/deploy/helm`: what is in it exists in Callback, and Helm and Kubernetes accept it.

Helm is not in Debian, and takes minutes to build from its Go module. So what needs it runs in a soak.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from soak.counts import SOAK
from support.deployed import SAMPLES
from support.tree import ROOT

from callback_console.settings import ConsoleSettings
from callback_edge.settings import EdgeSettings
from callback_server.settings import ServerSettings

CHART = SAMPLES / "helm"
HELM = "helm.sh/helm/v3/cmd/helm@v3.16.4"
SCHEMAS = "kubernetes-validate==1.37.0"
KUBERNETES = "1.31.0"
SETTINGS = {"server": ServerSettings, "edge": EdgeSettings, "console": ConsoleSettings}
REQUIRED = {
    "boxUrl": "https://callback.example",
    "store": {"url": "redis://store:6379/0"},
    "edgeTokenSecret": {"name": "edge-token"},
    "principals": '[principals.edge]\nroles = ["edge"]\n',
    "tls": {"secret": "callback-tls"},
}
EVERYTHING = REQUIRED | {
    "platformUrl": "https://shop.example",
    "store": {"url": "redis://store:6379/0", "durability": "replicated:1", "passwordSecret": {"name": "store"}},
    "stateKeySecret": {"name": "state"},
    "image": {"digest": f"sha256:{'0' * 64}"},
    "imagePullSecrets": [{"name": "registry"}],
    "config": '[activities.order-paid]\ntarget = "dns:///orders:50061"\n',
    "server": {
        "secrets": ["stripe"],
        "env": {"CALLBACK_RETENTION_S": 86400},
        "autoscaling": {"enabled": True, "callsInFlight": 500},
        "volume": {"storageClass": "fast"},
    },
    "edge": {
        "trustedProxies": ["10.0.0.0/16"],
        "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "web"},
        "autoscaling": {"enabled": True, "callsInFlight": 100},
        "tolerations": [{"key": "edge", "operator": "Exists"}],
    },
    "console": {"enabled": True, "publicUrl": "https://console.example", "secrets": ["openid"]},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
}
MESH = REQUIRED | {"tls": {"allowPlaintext": True}, "networkPolicy": {"enabled": False}}
VALUES = {"required": REQUIRED, "everything": EVERYTHING, "mesh": MESH}


def test_the_chart_has_the_version_of_callback_and_the_alerts_of_the_sample():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    release = re.search(r'^release = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert chart["version"] == chart["appVersion"] == release
    assert (CHART / "prometheus-rules.yaml").resolve() == (SAMPLES / "prometheus-rules.yaml").resolve()


def test_every_variable_of_the_chart_exists():
    text = "".join(path.read_text() for path in [CHART / "values.yaml", *(CHART / "templates").iterdir()])
    known = {settings.variable(field) for settings in SETTINGS.values() for field in settings.model_fields}
    connection = {f"{{{{ $prefix }}}}_{name}" for name in ("SERVER_TARGET", "SERVER_TLS", "ALLOW_PLAINTEXT")}
    named = set(re.findall(r"\bCALLBACK_[A-Z_]+\b", text))
    assert named - {"CALLBACK_CONFIG", "CALLBACK_EDGE", "CALLBACK_CONSOLE"} <= known
    assert connection == set(re.findall(r"\{\{ \$prefix \}\}_[A-Z_]+", text))


def test_every_value_has_a_default_and_a_schema():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(given, described, path=""):
        known = described.get("properties")
        if isinstance(given, dict) and known is not None:
            assert given.keys() == known.keys() - {"global"}, path
            for name, value in given.items():
                compare(value, known[name], f"{path}.{name}")

    compare(values, schema)


# ---- By Helm ----


in_a_soak = pytest.mark.skipif(not SOAK, reason="Helm takes minutes to build")


@pytest.fixture(scope="session")
def helm(tmp_path_factory):
    """Return a function that runs Helm on the chart with some values, and returns what ran."""
    folder = tmp_path_factory.mktemp("helm")
    subprocess.run(["go", "install", HELM], check=True, env=os.environ | {"GOBIN": str(folder)})

    def run(command, values):
        (folder / "values.yaml").write_text(yaml.safe_dump(values))
        arguments = ["shop", CHART] if command == "template" else [CHART]
        options = ["--kube-version", KUBERNETES, "--values", folder / "values.yaml"]
        command = [folder / "helm", command, *arguments, *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def objects(helm, values):
    ran = helm("template", values)
    assert ran.returncode == 0, ran.stderr
    return [each for each in yaml.safe_load_all(ran.stdout) if each]


def pods(made):
    """Return the template of the pods of each component."""
    found = [each for each in made if each["kind"] in ("StatefulSet", "Deployment")]
    return {each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"]["template"] for each in found}


@in_a_soak
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_helm_finds_no_mistake(helm, values):
    ran = helm("lint", values)
    assert ran.returncode == 0, ran.stdout
    assert "[WARNING]" not in ran.stdout


@in_a_soak
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"boxUrl": ""}, "boxUrl is required"),
        ({"store": {}}, "store.url is required"),
        ({"edgeTokenSecret": {}}, "edgeTokenSecret.name is required"),
        ({"principals": ""}, "principals is required"),
        ({"tls": {}}, "tls.secret is required"),
        ({"console": {"enabled": True}}, "console.publicUrl is required"),
        ({"servr": {}}, "servr"),
        ({"edge": {"trustedProxy": "10.0.0.0/8"}}, "trustedProxy"),
        ({"store": {"url": "redis://store", "durability": "sometimes"}}, "durability"),
    ],
    ids=str,
)
def test_a_missing_or_wrong_value_is_named(helm, changed, said):
    ran = helm("template", REQUIRED | changed)
    assert ran.returncode != 0
    assert said in ran.stderr


@in_a_soak
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_kubernetes_accepts_each_object(helm, values, tmp_path):
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", tmp_path, SCHEMAS], check=True)
    check = (
        "import json, sys, kubernetes_validate as it\n"
        "for each in json.load(sys.stdin): it.validate(each, '1.31', strict=True)"
    )
    made = [each for each in objects(helm, values) if not each["apiVersion"].startswith("monitoring.coreos.com")]
    subprocess.run(
        [sys.executable, "-c", check], input=json.dumps(made), text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip


@in_a_soak
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_each_process_accepts_its_settings_and_has_the_ports_that_it_names(helm, values, tmp_path, monkeypatch):
    made = objects(helm, values)
    for component, template in pods(made).items():
        (container,) = template["spec"]["containers"]
        assert container["args"] == [component]
        variables = {each["name"]: each["value"] for each in container["env"]}
        mounted = [each["mountPath"] for each in container["volumeMounts"]]
        for name, value in variables.items():
            for path in re.findall(r"/(?:etc|var)/[^\"]+", value):
                assert str(Path(path).parent) in mounted, name
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                if name != "CALLBACK_CONFIG":
                    patch.setenv(name, _written(value, tmp_path))
            config = None
            if "CALLBACK_CONFIG" in variables:
                config = tmp_path / "callback.toml"
                config.write_text(_data(made, "callback.toml"))
            settings = SETTINGS[component].load(config)
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        listens = settings.grpc_bind if component == "server" else settings.bind
        public = "grpc" if component == "server" else "http"
        assert ports == {public: int(listens.rpartition(":")[2]), "admin": int(settings.admin_bind.rpartition(":")[2])}
        drain_s = 0 if component == "console" else settings.drain_s
        assert template["spec"]["terminationGracePeriodSeconds"] > drain_s + settings.grace_s
    assert set(pods(made)) == {"server", "edge"} | ({"console"} if values is EVERYTHING else set())
    tomllib.loads(_data(made, "principals.toml"))


def _data(made, name):
    return next(each["data"][name] for each in made if each["kind"] == "ConfigMap" and name in each["data"])


def _written(value, folder):
    """Return a value with the paths of files that exist in a folder."""
    with contextlib.suppress(ValueError):
        if isinstance(table := json.loads(value), dict):
            return json.dumps({key: _written(each, folder) for key, each in table.items()})
    if not value.startswith("/etc/callback/"):
        return value
    (folder / Path(value).name).write_bytes(bytes(64))
    return str(folder / Path(value).name)


@in_a_soak
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_no_pod_has_rights_that_it_does_not_need(helm, values):
    for template in pods(objects(helm, values)).values():
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"]
            assert not rights["allowPrivilegeEscalation"]
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()


@in_a_soak
def test_only_edges_are_public_and_their_admin_port_is_not(helm):
    policies = {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"]["ingress"]
        for each in objects(helm, EVERYTHING)
        if each["kind"] == "NetworkPolicy"
    }
    public = {
        (component, port["port"])
        for component, rules in policies.items()
        for rule in rules
        for port in rule["ports"]
        if "from" not in rule
    }
    assert policies.keys() == {"server", "edge", "console"}
    assert public == {("edge", "http")}


@in_a_soak
def test_the_servers_can_be_upgraded_before_the_edges(helm):
    new = {"image": {"tag": "2", "repository": "registry.example/callback"}}

    def images(values):
        made = objects(helm, EVERYTHING | values)
        return {name: each["spec"]["containers"][0]["image"] for name, each in pods(made).items()}

    edge, console = ({**EVERYTHING[name], "image": {"tag": "1"}} for name in ("edge", "console"))
    assert images(new | {"edge": edge, "console": console}) == {
        "server": "registry.example/callback:2",
        "edge": "registry.example/callback:1",
        "console": "registry.example/callback:1",
    }
    without = {name: {**EVERYTHING[name], "image": None} for name in ("edge", "console")}
    assert {*images(new | without).values()} == {"registry.example/callback:2"}


@in_a_soak
def test_the_alerts_are_those_of_the_sample(helm):
    (rule,) = [each for each in objects(helm, EVERYTHING) if each["kind"] == "PrometheusRule"]
    assert rule["spec"] == yaml.safe_load((SAMPLES / "prometheus-rules.yaml").read_text())
