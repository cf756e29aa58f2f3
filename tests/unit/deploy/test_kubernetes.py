"""The Kubernetes example: valid by the published schemas, and consistent with the code's settings, queues and secrets.

Resources of operators have no schema here; their references are checked instead.
"""

import fnmatch
import ipaddress
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from fastapi.routing import APIRoute
from yarl import URL

import api.settings
import worker.settings
from api.readiness import PROBE_TIMEOUT_SECONDS
from api.routes import health
from deploy.secret_files import make_kubernetes_secrets
from dev.processes import REPOSITORY
from shared.amqp.topology import QueueType, lane_queue
from shared.contracts.operation import Lane
from shared.process.environment import secret_files

Object = dict[str, Any]

KUBERNETES = REPOSITORY / "deploy/kubernetes"
OVERLAY = Path("overlays/production")
MONITORS = Path("components/prometheus-operator")
ALERTS = REPOSITORY / "deploy/prometheus/alerts.yml"
DEPLOYMENT = REPOSITORY / "docs/deployment.md"
NAMESPACE = "jincor-auth"
VERSION = "1.34"
#: API groups of operators, which ship their own schemas.
OPERATORS = {
    "cert-manager.io/v1",
    "keda.sh/v1alpha1",
    "mongodbcommunity.mongodb.com/v1",
    "monitoring.coreos.com/v1",
    "rabbitmq.com/v1beta1",
}
#: Labels that the operators set on the pods of the cluster `rabbitmq` and of the replica set `mongo`.
OPERATORS_PODS = [{"app.kubernetes.io/name": "rabbitmq"}, {"app": "mongo-svc"}]
#: Labels that let pods of other services, which use the client, reach the broker.
CLIENTS_NAMESPACE = "jincor-auth/clients"
CLIENTS_PODS = [{"jincor-auth/client": "true"}]
#: Pod labels of the charts whose pods reach ours from other namespaces.
OTHERS_PODS = {
    "haproxy-controller": {"app.kubernetes.io/name": "kubernetes-ingress"},
    "ingress": {"app.kubernetes.io/name": "kubernetes-ingress"},
    "keda": {"app": "keda-operator"},
    "monitoring": {"app.kubernetes.io/name": "prometheus"},
}
#: Default pod networks of common installers.
PODS_NETWORKS = (
    "10.244.0.0/16",
    "10.42.0.0/16",
    "192.168.0.0/16",
    "10.0.0.0/16",
    "172.16.0.0/12",
    "10.128.0.0/14",
)
#: The number of addresses that an ingress controller needs at most.
MANY_CONTROLLERS = 256
#: The suffix that kustomize appends to the names of generated secrets.
KUSTOMIZE_HASH = re.compile(r"(.*)-[0-9a-z]{10}")
WORKERS = [f"worker-{lane}" for lane in Lane]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the example and generate its secrets, as an operator does."""
    directory = tmp_path_factory.mktemp("kubernetes") / "kubernetes"
    shutil.copytree(KUBERNETES, directory, ignore=shutil.ignore_patterns("secrets"))
    make_kubernetes_secrets(directory / OVERLAY / "secrets")
    return directory


@pytest.fixture(scope="module", params=["files", "rendered"])
def objects(request: pytest.FixtureRequest, directory: Path) -> list[Object]:
    """Return base and overlay, as files and as kustomize renders them (if installed)."""
    if request.param == "files":
        return [*_listed(directory / "base"), *_listed(directory / OVERLAY)]
    return _rendered(directory / OVERLAY)


@pytest.fixture(scope="module", params=["files", "rendered"])
def monitors(request: pytest.FixtureRequest, directory: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """Return the monitors of the component, as files and rendered with the overlay's comment line enabled."""
    if request.param == "files":
        return list(_listed(directory / MONITORS))
    copy = tmp_path_factory.mktemp("monitored") / "kubernetes"
    shutil.copytree(directory, copy)
    kustomization = copy / OVERLAY / "kustomization.yaml"
    kustomization.write_text(kustomization.read_text().replace("# components:", "components:"))
    return _all(_rendered(copy / OVERLAY), "PodMonitor")


@pytest.fixture(scope="module")
def secrets(directory: Path) -> dict[str, dict[str, str]]:
    """Return the contents of the generated secrets by secret and key."""
    generators = _kustomization(directory / OVERLAY)["secretGenerator"]
    return {
        generator["name"]: {
            (name if equals else Path(entry).name): (directory / OVERLAY / (path if equals else entry)).read_text()
            for entry in generator["files"]
            for name, equals, path in [entry.partition("=")]
        }
        | dict(literal.split("=", 1) for literal in generator.get("literals", ()))
        for generator in generators
    }


@pytest.mark.parametrize("part", ["base", str(OVERLAY), str(MONITORS)])
def test_example_file_is_listed_in_its_kustomization(part: str) -> None:
    """Kustomize ignores unlisted files without a warning."""
    kustomization = _kustomization(KUBERNETES / part)
    listed = {entry for entry in kustomization["resources"] if entry.endswith(".yaml")}
    listed |= set(kustomization.get("configurations", []))
    patches = {patch["path"] for patch in kustomization.get("patches", [])}
    existing = {path.name for path in (KUBERNETES / part).glob("*.yaml")} - {"kustomization.yaml"}
    assert listed | patches == existing


def test_object_is_valid_by_the_published_schema(objects: list[Object]) -> None:
    """Resources of operators have no schema here."""
    for each in objects:
        if each["apiVersion"] not in OPERATORS:
            kubernetes_validate.validate(each, VERSION, strict=True)


def test_object_with_an_unknown_member_is_refused(objects: list[Object]) -> None:
    """Shows that the schema check can fail."""
    service = _one(objects, "Service", "edge")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**service, "spec": {**service["spec"], "port": 80}}, VERSION, strict=True)


def test_selector_matches_pods_of_ours_or_of_an_operator(objects: list[Object]) -> None:
    """The selectors of a Deployment match only its own pods."""
    templates = [*_all(objects, "Deployment"), *_all(objects, "Job")]
    pods = [each["spec"]["template"]["metadata"]["labels"] for each in templates]
    for deployment in _all(objects, "Deployment"):
        template = deployment["spec"]["template"]
        own = deployment["spec"]["selector"]["matchLabels"]
        assert own.items() <= template["metadata"]["labels"].items()
        assert [labels for labels in pods if own.items() <= labels.items()] == [template["metadata"]["labels"]]
        for constraint in template["spec"]["topologySpreadConstraints"]:
            assert constraint["labelSelector"]["matchLabels"] == own
    service = _one(objects, "Service", "edge")
    assert service["spec"]["selector"] == {"app.kubernetes.io/name": "edge"}
    foreign = [*OPERATORS_PODS, *CLIENTS_PODS, *OTHERS_PODS.values()]
    for each in [*_all(objects, "NetworkPolicy"), *_all(objects, "PodDisruptionBudget")]:
        for selector in _values(each, {"podSelector", "selector"}):
            labels = selector.get("matchLabels", {})
            if labels != {"k8s-app": "kube-dns"}:
                assert any(labels.items() <= known.items() for known in pods + foreign), each["metadata"]


def test_deployment_has_one_disruption_budget_and_one_autoscaler(objects: list[Object]) -> None:
    """One pod may be disrupted at a time; no autoscaler goes below two replicas."""
    names = {each["metadata"]["name"] for each in _all(objects, "Deployment")}
    assert names == {"edge", *WORKERS}
    budgets = {
        each["metadata"]["name"]: each["spec"]["maxUnavailable"] for each in _all(objects, "PodDisruptionBudget")
    }
    assert budgets == dict.fromkeys([*names, "rabbitmq", "mongo"], 1)
    edges = _one(objects, "HorizontalPodAutoscaler", "edge")["spec"]
    lanes = [each["spec"] for each in _all(objects, "ScaledObject")]
    assert sorted(spec["scaleTargetRef"]["name"] for spec in [edges, *lanes]) == sorted(names)
    assert edges["minReplicas"] >= 2
    assert all(spec["minReplicaCount"] >= 2 for spec in lanes)


@pytest.mark.parametrize("lane", list(Lane))
def test_lane_is_scaled_by_the_length_of_its_queue(objects: list[Object], lane: Lane) -> None:
    (trigger,) = _one(objects, "ScaledObject", f"worker-{lane}")["spec"]["triggers"]
    queue_type = QueueType(_environment(_container(objects, f"worker-{lane}"))["AUTH_QUEUE_TYPE"])
    assert trigger["metadata"]["queueName"] == lane_queue(lane, queue_type=queue_type).name
    assert all(isinstance(value, str) for value in trigger["metadata"].values()), "KEDA requires strings"
    assert _one(objects, "TriggerAuthentication", trigger["authenticationRef"]["name"])


def test_autoscaler_trusts_the_authority_of_the_broker(
    objects: list[Object], secrets: dict[str, dict[str, str]]
) -> None:
    """KEDA's scaler ignores `ca` unless `tls` is `enable`, and then reads no queue length."""
    references = _one(objects, "TriggerAuthentication", "queue-length")["spec"]["secretTargetRef"]
    parameters = {each["parameter"]: (each["name"], each["key"]) for each in references}
    secret, key = parameters["tls"]
    assert secrets[secret][key] == "enable"
    assert parameters["ca"] == (_one(objects, "Certificate", "rabbitmq")["spec"]["secretName"], "ca.crt")


def test_probe_uses_a_route_or_command_of_its_image(objects: list[Object]) -> None:
    container = _container(objects, "edge")
    routes = {route.path for route in health.router.routes if isinstance(route, APIRoute)}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert str(ports["http"]) == _environment(container)["AUTH_PORT"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in routes
        assert container[probe]["httpGet"]["port"] in ports
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    _, _, check = _dockerfile("worker").partition("HEALTHCHECK ")[2].splitlines()[0].partition("CMD ")
    for name in WORKERS:
        container = _container(objects, name)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["exec"]["command"] == yaml.safe_load(check)
        assert _environment(container)["AUTH_HEARTBEAT_FILE"]


def test_new_edge_waits_for_the_service_behind_it_and_then_stays_in_its_kubernetes_service(
    objects: list[Object],
) -> None:
    """Like HAProxy, Kubernetes does not remove all edges at once when broker, workers or database fail."""
    container = _container(objects, "edge")
    startup, readiness = container["startupProbe"], container["readinessProbe"]
    assert startup["httpGet"]["path"] == "/health/ready"
    assert startup["timeoutSeconds"] > PROBE_TIMEOUT_SECONDS
    workers = _container(objects, "worker-verify")
    patience = [each["periodSeconds"] * each["failureThreshold"] for each in (startup, workers["startupProbe"])]
    assert patience[0] >= patience[1], "Kubernetes restarts an edge that waits for workers which still start"
    assert readiness["httpGet"]["path"] == "/health/live"


@pytest.mark.parametrize("name", ["edge", *WORKERS])
def test_pod_environment_and_files_are_valid_settings(
    objects: list[Object], secrets: dict[str, dict[str, str]], tmp_path: Path, name: str
) -> None:
    """The termination grace period also covers the configured shutdown."""
    pod, container = _pod(objects, name), _container(objects, name)
    for file, content in _mounted(pod, secrets).items():
        target = _below(tmp_path, file)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content.replace("/run/secrets", str(_below(tmp_path, "/run/secrets"))))
    module = api.settings if name == "edge" else worker.settings
    files = {f"{secret}_FILE" for secret in module.SECRETS}
    environment = _environment(container) | ({"AUTH_LANES": container["args"][1]} if "args" in container else {})
    plain = {variable: value for variable, value in environment.items() if variable not in files}
    assert plain.keys() <= {field.validation_alias for field in module.Settings.model_fields.values()}
    secret = secret_files(
        {name: str(_below(tmp_path, environment[name])) for name in environment.keys() & files}, module.SECRETS
    )
    settings = module.Settings(**plain, **secret)
    assert all(Path(URL(url.get_secret_value()).query["cafile"]).exists() for url in settings.amqp_url)
    grace = settings.shutdown_grace_seconds
    assert not isinstance(settings, api.settings.Settings) or not settings.docs
    stopping = settings.drain_seconds + grace if isinstance(settings, api.settings.Settings) else 2 * grace
    assert pod["terminationGracePeriodSeconds"] > stopping


def test_generated_url_names_the_operators_broker_and_database(
    objects: list[Object], secrets: dict[str, dict[str, str]]
) -> None:
    """The hosts are in the certificates and the users exist."""
    broker, database = _one(objects, "RabbitmqCluster", "rabbitmq"), _one(objects, "MongoDBCommunity", "mongo")
    names = {each["spec"]["secretName"]: each["spec"].get("dnsNames", []) for each in _all(objects, "Certificate")}
    urls = [URL(secrets[name]["amqp-url"]) for name in ("edge", "worker")]
    urls.append(URL(secrets["queue-length"]["rabbitmq-url"]))
    for url in urls:
        assert url.host == f"{broker['metadata']['name']}.{NAMESPACE}.svc"
        assert url.host in names[broker["spec"]["tls"]["secretName"]]
    assert [(url.scheme, url.port) for url in urls] == [("amqps", 5671), ("amqps", 5671), ("https", 15671)]
    mongo = secrets["worker"]["mongo-url"]
    hosts = mongo.partition("@")[2].partition("/")[0].split(",")
    (pattern,) = names[database["spec"]["security"]["tls"]["certificateKeySecretRef"]["name"]]
    assert len(hosts) == database["spec"]["members"]
    assert all(fnmatch.fnmatch(host, pattern) for host in hosts)
    assert f"replicaSet={database['metadata']['name']}&" in mongo
    (user,) = [user for user in database["spec"]["users"] if user["name"] == "worker"]
    assert f"authSource={user['db']}&" in mongo
    assert mongo.startswith(f"mongodb://worker:{secrets['mongo-users'][user['passwordSecretRef']['key']]}@")


def test_referenced_secret_is_generated_by_the_overlay_or_cert_manager(
    objects: list[Object], secrets: dict[str, dict[str, str]]
) -> None:
    """The only exception is the certificate of the public name, which the operator provides."""
    ours = [each for each in objects if each["kind"] != "Secret"]
    named = {value for value in _values(ours, {"secretName"}) if isinstance(value, str)}
    for reference in _values(
        ours, {"secret", "passwordSecretRef", "certificateKeySecretRef", "caCertificateSecretRef"}
    ):
        named |= {reference["name"]} if "name" in reference else set()
    for references in _values(ours, {"secretTargetRef"}):
        named |= {reference["name"] for reference in references}
    certificates = {each["spec"]["secretName"] for each in _all(objects, "Certificate")}
    assert {_unhashed(name, secrets) for name in named} == {*secrets, *certificates, "edge-tls"}


def test_upgrade_of_the_edge_by_the_documented_label_includes_its_secret(directory: Path) -> None:
    """The secret's name changes with its content: without it the new pods would not start."""
    (selector,) = re.findall(r"--selector ([\w./=-]+)", DEPLOYMENT.read_text())
    label, _, value = selector.partition("=")
    objects = _rendered(directory / OVERLAY)
    selected = {
        (each["kind"], each["metadata"]["name"])
        for each in objects
        if each["metadata"].get("labels", {}).get(label) == value
    }
    (source, _) = _pod(objects, "edge")["volumes"][0]["projected"]["sources"]
    assert selected == {("Deployment", "edge"), ("Secret", source["secret"]["name"])}


@pytest.mark.parametrize("name", ["edge", *WORKERS])
def test_pod_runs_restricted_with_a_read_only_root(objects: list[Object], name: str) -> None:
    """The level is `restricted` of the Pod Security Standards."""
    pod, container = _pod(objects, name), _container(objects, name)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}\n" in _dockerfile(name)
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("name", ["edge", *WORKERS])
def test_pod_limits_equal_those_of_the_compose_file(objects: list[Object], name: str) -> None:
    """The limits of docker-compose.prod.yml are the measured ones."""
    compose = yaml.safe_load((REPOSITORY / "docker-compose.prod.yml").read_text())["services"][name]
    limits = compose["deploy"]["resources"]["limits"]
    container = _container(objects, name)
    assert container["resources"]["limits"] == {"cpu": limits["cpus"], "memory": limits["memory"].upper() + "i"}
    image = compose["image"].partition("}")[2].partition(":")[0]
    assert container["image"].rpartition("/")[2].partition(":")[0] == image
    assert container.get("args", []) == compose.get("command", [])


def test_worker_deployments_differ_only_in_lane_resources_and_hash_threads(objects: list[Object]) -> None:
    pods = []
    for name in WORKERS:
        pod, container = _pod(objects, name), _container(objects, name)
        env = [entry for entry in container["env"] if entry["name"] != "AUTH_HASH_THREADS"]
        same = {**container, "env": env, "args": [], "resources": {}}
        pods.append({**pod, "containers": [same], "topologySpreadConstraints": []})
    assert pods[0] == pods[1] == pods[2]


def test_network_policies_allow_only_the_needed_connections(objects: list[Object]) -> None:
    """The default is deny. The ingress controller reaches the edge, Prometheus the metrics, and workers reach only
    broker and database."""
    policies = {each["metadata"]["name"]: each["spec"] for each in _all(objects, "NetworkPolicy")}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert [entry["port"] for rule in policies["worker"]["egress"] for entry in rule["ports"]] == [5671, 27017]
    assert [entry["port"] for rule in policies["edge"]["egress"] for entry in rule["ports"]] == [5671]
    assert all("podSelector" in peer for name in ("edge", "worker") for peer in _peers(policies[name]["egress"]))
    outside = {
        (name, entry["port"], *peer["namespaceSelector"]["matchLabels"].values())
        for name, policy in policies.items()
        for rule in policy.get("ingress", [])
        for entry in rule["ports"]
        for peer in rule["from"]
        if "namespaceSelector" in peer
    }
    ingress = {controller for name, port, controller in outside if (name, port) == ("edge", "http")}
    metrics = {("edge", "metrics"), ("worker", "metrics"), ("rabbitmq", 15691)}
    assert outside == {
        *(("edge", "http", controller) for controller in ingress),
        *((*each, "monitoring") for each in metrics),
        ("rabbitmq", 15671, "keda"),
        ("rabbitmq", 5671, "allowed"),
    }
    for policy in policies.values():
        for peer in _peers(policy.get("ingress", []), "from"):
            namespace = peer.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name")
            assert namespace is None or peer["podSelector"]["matchLabels"] == OTHERS_PODS[namespace], "whole namespace"
    (clients,) = [
        peer
        for peer in _peers(policies["rabbitmq"]["ingress"], "from")
        if "allowed" in _values(peer, {CLIENTS_NAMESPACE})
    ]
    assert clients["podSelector"]["matchLabels"] in CLIENTS_PODS, "whole namespace"
    inside = [
        peer for rule in policies["worker"]["ingress"] for peer in rule["from"] if "namespaceSelector" not in peer
    ]
    assert not inside
    for name in ("edge", *WORKERS):
        container = _container(objects, name)
        ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
        assert ports["metrics"] == _environment(container)["AUTH_METRICS_PORT"]


def test_only_prometheus_reaches_the_metrics_of_the_broker(objects: list[Object]) -> None:
    """The metrics name queues, which other pods must not see."""
    ports = {
        entry["port"]
        for rule in _one(objects, "NetworkPolicy", "rabbitmq")["spec"]["ingress"]
        for entry in rule["ports"]
        for peer in rule["from"]
        if "monitoring" not in _values(peer, {"kubernetes.io/metadata.name"})
    }
    assert ports == {5671, 15671, 4369, 25672}
    assert _one(objects, "RabbitmqCluster", "rabbitmq")["spec"]["tls"]["disableNonTLSListeners"] is True, "nor 15692"


def test_edge_trusts_forwarded_addresses_only_from_the_ingress() -> None:
    """The forwarded address decides about registration and throttling. A NetworkPolicy is not enough, because a cluster
    may ignore it."""
    patch = yaml.safe_load((KUBERNETES / OVERLAY / "edge.yaml").read_text())
    (container,) = patch["spec"]["template"]["spec"]["containers"]
    trusted = ipaddress.ip_network(_environment(container)["AUTH_TRUSTED_PROXIES"])
    assert trusted.num_addresses <= MANY_CONTROLLERS
    assert not any(trusted.overlaps(ipaddress.ip_network(pods)) for pods in PODS_NETWORKS)


def test_broker_and_database_pods_run_restricted(objects: list[Object]) -> None:
    """Same restrictions as in docker-compose.prod.yml; pods that operators add are not checked."""
    broker = _one(objects, "RabbitmqCluster", "rabbitmq")["spec"]["override"]["statefulSet"]
    database = _one(objects, "MongoDBCommunity", "mongo")["spec"]["statefulSet"]
    containers = [each for spec in (broker, database) for each in spec["spec"]["template"]["spec"]["containers"]]
    assert [each["name"] for each in containers] == ["rabbitmq", "mongod", "mongodb-agent"]
    for each in containers:
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }


def test_overlay_with_digests_pins_our_images_and_the_broker(directory: Path, tmp_path: Path) -> None:
    """The overlay's comment describes this; the broker's image is in a resource of its operator."""
    copy = tmp_path / "kubernetes"
    shutil.copytree(directory, copy)
    kustomization = copy / OVERLAY / "kustomization.yaml"
    digest = f"sha256:{'0' * 64}"
    pinned = yaml.safe_load(kustomization.read_text())
    pinned["images"] = [
        {"name": name, "digest": digest} for name in ("jincor-auth-api", "jincor-auth-worker", "rabbitmq")
    ]
    kustomization.write_text(yaml.safe_dump(pinned))
    objects = _rendered(copy / OVERLAY)
    images = {_container(objects, name)["image"] for name in ("edge", *WORKERS)}
    images.add(_one(objects, "RabbitmqCluster", "rabbitmq")["spec"]["image"])
    assert images == {f"{name}@{digest}" for name in ("jincor-auth-api", "jincor-auth-worker", "rabbitmq")}


def test_overlay_without_the_component_has_no_pod_monitor(objects: list[Object]) -> None:
    """A cluster without the Prometheus operator refuses the whole overlay if it contains one."""
    assert not _all(objects, "PodMonitor")


def test_pod_is_monitored_once_under_the_job_name_of_the_alerts(objects: list[Object], monitors: list[Object]) -> None:
    """The labels and the port are those of its Deployment; the operator defines the broker's port."""
    (jobs,) = set(re.findall(r'job=~"([^"]+)"', ALERTS.read_text()))
    names = [each["metadata"]["name"] for each in monitors]
    assert sorted(names) == sorted(["edge", *WORKERS, "rabbitmq"])
    for monitor in monitors:
        name, (endpoint,) = monitor["metadata"]["name"], monitor["spec"]["podMetricsEndpoints"]
        labels = monitor["spec"]["selector"]["matchLabels"]
        (job,) = [each["replacement"] for each in endpoint["relabelings"] if each["targetLabel"] == "job"]
        if name == "rabbitmq":
            assert labels in OPERATORS_PODS
            assert job == name
            continue
        selected = [
            each["metadata"]["name"]
            for each in _all(objects, "Deployment")
            if labels.items() <= each["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert selected == [name]
        assert endpoint["port"] in {port["name"] for port in _container(objects, name)["ports"]}
        assert re.fullmatch(jobs, job)
        assert job.endswith(name.partition("-")[0])


def test_broker_metrics_are_scraped_under_a_name_of_the_certificate(
    objects: list[Object], monitors: list[Object]
) -> None:
    """Prometheus trusts the authority in the secret of cert-manager."""
    (endpoint,) = _one(monitors, "PodMonitor", "rabbitmq")["spec"]["podMetricsEndpoints"]
    trusted = endpoint["tlsConfig"]["ca"]["secret"]
    certificate = _one(objects, "Certificate", "rabbitmq")["spec"]
    assert trusted == {"name": certificate["secretName"], "key": "ca.crt"}
    assert endpoint["tlsConfig"]["serverName"] in certificate["dnsNames"]


def test_second_run_keeps_secrets_and_updates_permissions(tmp_path: Path) -> None:
    """After an upgrade, the definitions hold the permissions of the new version."""
    make_kubernetes_secrets(tmp_path)
    definitions = tmp_path / "definitions.json"
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    make_kubernetes_secrets(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    now = json.loads(definitions.read_text())
    definitions.chmod(0o600)
    definitions.write_text(json.dumps({**now, "permissions": []}))
    make_kubernetes_secrets(tmp_path)
    assert json.loads(definitions.read_text())["permissions"] == now["permissions"]
    before.pop("definitions.json")
    assert before.items() <= {path.name: path.read_bytes() for path in tmp_path.iterdir()}.items()


def test_definitions_hold_a_user_for_each_url(secrets: dict[str, dict[str, str]]) -> None:
    """Only `queue-length` may use the management interface."""
    definitions = yaml.safe_load(secrets["rabbitmq-definitions"]["definitions.json"])
    assert {user["name"]: user["tags"] for user in definitions["users"]} == {
        "edge": [],
        "worker": [],
        "queue-length": ["management"],
    }


def _kustomization(directory: Path) -> Object:
    loaded: Object = yaml.safe_load((directory / "kustomization.yaml").read_text())
    return loaded


def _rendered(directory: Path) -> list[Object]:
    if kubectl := shutil.which("kubectl"):
        command = [kubectl, "kustomize"]
    elif kustomize := shutil.which("kustomize"):
        command = [kustomize, "build"]
    else:
        pytest.skip("neither kubectl nor kustomize is installed")
    done = subprocess.run([*command, str(directory)], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def _listed(directory: Path) -> Iterator[Object]:
    for entry in _kustomization(directory)["resources"]:
        if entry.endswith(".yaml"):
            yield from yaml.safe_load_all((directory / entry).read_text())


def _all(objects: list[Object], kind: str) -> list[Object]:
    return [each for each in objects if each["kind"] == kind]


def _one(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [each for each in _all(objects, kind) if each["metadata"]["name"] == name]
    return found


def _pod(objects: list[Object], name: str) -> Object:
    pod: Object = _one(objects, "Deployment", name)["spec"]["template"]["spec"]
    return pod


def _container(objects: list[Object], name: str) -> Object:
    (container,) = _pod(objects, name)["containers"]
    found: Object = container
    return found


def _environment(container: Object) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"]}


def _mounted(pod: Object, secrets: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return the pod's files and their contents; certificates are empty."""
    (volume,), (mount,) = pod["volumes"], pod["containers"][0]["volumeMounts"]
    assert mount["name"] == volume["name"]
    files: dict[str, str] = {}
    for source in volume["projected"]["sources"]:
        secret = source["secret"]
        if items := secret.get("items"):
            files |= {item["path"]: "" for item in items}
        else:
            files |= secrets[_unhashed(secret["name"], secrets)]
    return {f"{mount['mountPath']}/{path}": content for path, content in files.items()}


def _unhashed(name: str, secrets: dict[str, dict[str, str]]) -> str:
    """Return the name that the overlay uses, without the hash that rendering appends."""
    hashed = KUSTOMIZE_HASH.fullmatch(name)
    return hashed[1] if hashed and hashed[1] in secrets else name


def _below(directory: Path, path: str) -> Path:
    return directory / path.removeprefix("/")


def _dockerfile(name: str) -> str:
    return (REPOSITORY / ("Dockerfile.api" if name == "edge" else "Dockerfile.worker")).read_text()


def _peers(rules: list[Object], direction: str = "to") -> Iterator[Object]:
    for rule in rules:
        yield from rule[direction]


def _values(document: Any, keys: set[str]) -> Iterator[Any]:
    """Yield each value under one of these keys, at any depth."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key in keys:
                yield value
            yield from _values(value, keys)
    elif isinstance(document, list):
        for item in document:
            yield from _values(item, keys)
