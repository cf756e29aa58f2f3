"""The example for Kubernetes: valid by Kubernetes' schemas, and true to the code's settings, queues and secrets.

Operators' resources have no schema here: of them it is checked that what they name is there.
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
NAMESPACE = "jincor-auth"
VERSION = "1.34"
#: Resources of operators, whose schemas come with them.
OPERATORS = {
    "cert-manager.io/v1",
    "keda.sh/v1alpha1",
    "mongodbcommunity.mongodb.com/v1",
    "monitoring.coreos.com/v1",
    "rabbitmq.com/v1beta1",
}
#: What the operators put on the pods of a cluster named `rabbitmq` and of a replica set named `mongo`.
OPERATORS_PODS = [{"app.kubernetes.io/name": "rabbitmq"}, {"app": "mongo-svc"}]
#: What services of others, which use the client, put on their pods to be let in to the broker.
CLIENTS_NAMESPACE = "jincor-auth/clients"
CLIENTS_PODS = [{"jincor-auth/client": "true"}]
#: By which the charts of what reaches us from other namespaces know their own pods.
OTHERS_PODS = {
    "haproxy-controller": {"app.kubernetes.io/name": "kubernetes-ingress"},
    "ingress": {"app.kubernetes.io/name": "kubernetes-ingress"},
    "keda": {"app": "keda-operator"},
    "monitoring": {"app.kubernetes.io/name": "prometheus"},
}
#: Networks of all pods, as installers have them by default.
PODS_NETWORKS = (
    "10.244.0.0/16",
    "10.42.0.0/16",
    "192.168.0.0/16",
    "10.0.0.0/16",
    "172.16.0.0/12",
    "10.128.0.0/14",
)
#: As many addresses as an ingress controller may need.
MANY_CONTROLLERS = 256
#: What kustomize appends to the names of secrets that it makes.
KUSTOMIZE_HASH = re.compile(r"(.*)-[0-9a-z]{10}")
WORKERS = [f"worker-{lane}" for lane in Lane]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, with secrets as an operator makes them."""
    directory = tmp_path_factory.mktemp("kubernetes") / "kubernetes"
    shutil.copytree(KUBERNETES, directory, ignore=shutil.ignore_patterns("secrets"))
    make_kubernetes_secrets(directory / OVERLAY / "secrets")
    return directory


@pytest.fixture(scope="module", params=["files", "rendered"])
def objects(request: pytest.FixtureRequest, directory: Path) -> list[Object]:
    """Base and overlay as their files have them; and as kustomize makes one of them, where that is installed."""
    if request.param == "files":
        return [*_listed(directory / "base"), *_listed(directory / OVERLAY)]
    return _rendered(directory / OVERLAY)


@pytest.fixture(scope="module", params=["files", "rendered"])
def monitors(request: pytest.FixtureRequest, directory: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """What the component adds, likewise: rendered, by an overlay that names it as the overlay's comment says."""
    if request.param == "files":
        return list(_listed(directory / MONITORS))
    copy = tmp_path_factory.mktemp("monitored") / "kubernetes"
    shutil.copytree(directory, copy)
    kustomization = copy / OVERLAY / "kustomization.yaml"
    kustomization.write_text(kustomization.read_text().replace("# components:", "components:"))
    return _all(_rendered(copy / OVERLAY), "PodMonitor")


@pytest.fixture(scope="module")
def secrets(directory: Path) -> dict[str, dict[str, str]]:
    """What the overlay makes: the contents by secret and key."""
    generators = _kustomization(directory / OVERLAY)["secretGenerator"]
    return {
        generator["name"]: {
            (name if equals else Path(entry).name): (directory / OVERLAY / (path if equals else entry)).read_text()
            for entry in generator["files"]
            for name, equals, path in [entry.partition("=")]
        }
        for generator in generators
    }


@pytest.mark.parametrize("part", ["base", str(OVERLAY), str(MONITORS)])
def test_every_file_is_part_of_it(part: str) -> None:
    """Kustomize reads what is listed and is silent about the rest."""
    kustomization = _kustomization(KUBERNETES / part)
    listed = {entry for entry in kustomization["resources"] if entry.endswith(".yaml")}
    listed |= set(kustomization.get("configurations", []))
    patches = {patch["path"] for patch in kustomization.get("patches", [])}
    there = {path.name for path in (KUBERNETES / part).glob("*.yaml")} - {"kustomization.yaml"}
    assert listed | patches == there


def test_kubernetes_accepts_it(objects: list[Object]) -> None:
    """By the published schemas, which know every member; only operators' resources have none here."""
    for each in objects:
        if each["apiVersion"] not in OPERATORS:
            kubernetes_validate.validate(each, VERSION, strict=True)


def test_a_member_that_kubernetes_does_not_know_is_found(objects: list[Object]) -> None:
    """The check above can fail."""
    service = _one(objects, "Service", "edge")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**service, "spec": {**service["spec"], "port": 80}}, VERSION, strict=True)


def test_selectors_find_pods(objects: list[Object]) -> None:
    """Each selects a pod of ours or of an operator; a Deployment and its spreading, its own."""
    pods = [each["spec"]["template"]["metadata"]["labels"] for each in _all(objects, "Deployment")]
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


def test_every_deployment_may_be_disrupted_and_scaled(objects: list[Object]) -> None:
    """One at a time, and by one autoscaler each, never below two."""
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
def test_a_lane_is_scaled_by_its_own_queue(objects: list[Object], lane: Lane) -> None:
    """Under the name that its workers give it."""
    (trigger,) = _one(objects, "ScaledObject", f"worker-{lane}")["spec"]["triggers"]
    queue_type = QueueType(_environment(_container(objects, f"worker-{lane}"))["AUTH_QUEUE_TYPE"])
    assert trigger["metadata"]["queueName"] == lane_queue(lane, queue_type=queue_type).name
    assert all(isinstance(value, str) for value in trigger["metadata"].values()), "as KEDA wants them"
    assert _one(objects, "TriggerAuthentication", trigger["authenticationRef"]["name"])


def test_probes_ask_what_the_images_answer(objects: list[Object]) -> None:
    """The edge's routes at a port it has, and the command of the worker's health check."""
    container = _container(objects, "edge")
    routes = {route.path for route in health.router.routes if isinstance(route, APIRoute)}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert str(ports["http"]) == _environment(container)["AUTH_PORT"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in routes
        assert container[probe]["httpGet"]["port"] in ports
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert container["readinessProbe"]["timeoutSeconds"] > PROBE_TIMEOUT_SECONDS
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    _, _, check = _dockerfile("worker").partition("HEALTHCHECK ")[2].splitlines()[0].partition("CMD ")
    for name in WORKERS:
        container = _container(objects, name)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["exec"]["command"] == yaml.safe_load(check)
        assert _environment(container)["AUTH_HEARTBEAT_FILE"]


@pytest.mark.parametrize("name", ["edge", *WORKERS])
def test_a_pod_starts_with_what_it_is_given(
    objects: list[Object], secrets: dict[str, dict[str, str]], tmp_path: Path, name: str
) -> None:
    """Its variables are settings, its files are where they say, and both are valid; and it may finish when it stops."""
    pod, container = _pod(objects, name), _container(objects, name)
    for file, content in _mounted(pod, secrets).items():
        target = _below(tmp_path, file)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content.replace("/run/secrets", str(_below(tmp_path, "/run/secrets"))))
    module = api.settings if name == "edge" else worker.settings
    files = {f"{secret}_FILE" for secret in module.SECRETS}
    given = _environment(container) | ({"AUTH_LANES": container["args"][1]} if "args" in container else {})
    plain = {variable: value for variable, value in given.items() if variable not in files}
    assert plain.keys() <= {field.validation_alias for field in module.Settings.model_fields.values()}
    secret = secret_files({name: str(_below(tmp_path, given[name])) for name in given.keys() & files}, module.SECRETS)
    settings = module.Settings(**plain, **secret)
    assert all(Path(URL(url.get_secret_value()).query["cafile"]).exists() for url in settings.amqp_url)
    grace = settings.shutdown_grace_seconds
    assert not isinstance(settings, api.settings.Settings) or not settings.docs
    stopping = settings.drain_seconds + grace if isinstance(settings, api.settings.Settings) else 2 * grace
    assert pod["terminationGracePeriodSeconds"] > stopping


def test_urls_lead_to_the_broker_and_the_database_that_operators_make(
    objects: list[Object], secrets: dict[str, dict[str, str]]
) -> None:
    """By names that are in their certificates, as users that they have."""
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


def test_secrets_that_are_named_are_made(objects: list[Object], secrets: dict[str, dict[str, str]]) -> None:
    """By the overlay, or by cert-manager; all but the certificate of the public name, which is the operator's own."""
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


@pytest.mark.parametrize("name", ["edge", *WORKERS])
def test_pods_may_do_nothing_but_their_work(objects: list[Object], name: str) -> None:
    """What Pod Security calls `restricted`, and a root file system that cannot be written."""
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
def test_limits_are_those_of_the_compose_file(objects: list[Object], name: str) -> None:
    """One set of numbers, of which those in docker-compose.prod.yml were run."""
    compose = yaml.safe_load((REPOSITORY / "docker-compose.prod.yml").read_text())["services"][name]
    limits = compose["deploy"]["resources"]["limits"]
    container = _container(objects, name)
    assert container["resources"]["limits"] == {"cpu": limits["cpus"], "memory": limits["memory"].upper() + "i"}
    image = compose["image"].partition("}")[2].partition(":")[0]
    assert container["image"].rpartition("/")[2].partition(":")[0] == image
    assert container.get("args", []) == compose.get("command", [])


def test_lanes_differ_in_nothing_but_their_work(objects: list[Object]) -> None:
    """Their Deployments are one, but for the lane, the resources and the threads of hashing."""
    pods = []
    for name in WORKERS:
        pod, container = _pod(objects, name), _container(objects, name)
        env = [entry for entry in container["env"] if entry["name"] != "AUTH_HASH_THREADS"]
        same = {**container, "env": env, "args": [], "resources": {}}
        pods.append({**pod, "containers": [same], "topologySpreadConstraints": []})
    assert pods[0] == pods[1] == pods[2]


def test_only_the_edge_is_reached_and_only_what_is_needed(objects: list[Object]) -> None:
    """Nothing by default; the edge by the ingress controller, workers by nobody, metrics by who collects them; workers
    reach broker and database."""
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
            assert namespace is None or peer["podSelector"]["matchLabels"] == OTHERS_PODS[namespace], "not all of it"
    (clients,) = [
        peer
        for peer in _peers(policies["rabbitmq"]["ingress"], "from")
        if "allowed" in _values(peer, {CLIENTS_NAMESPACE})
    ]
    assert clients["podSelector"]["matchLabels"] in CLIENTS_PODS, "not everything in that namespace"
    inside = [
        peer for rule in policies["worker"]["ingress"] for peer in rule["from"] if "namespaceSelector" not in peer
    ]
    assert not inside
    for name in ("edge", *WORKERS):
        container = _container(objects, name)
        ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
        assert ports["metrics"] == _environment(container)["AUTH_METRICS_PORT"]


def test_nobody_but_prometheus_reaches_the_brokers_metrics(objects: list[Object]) -> None:
    """Edges, workers, services and the other nodes reach what they need and not the metrics, which name queues."""
    ports = {
        entry["port"]
        for rule in _one(objects, "NetworkPolicy", "rabbitmq")["spec"]["ingress"]
        for entry in rule["ports"]
        for peer in rule["from"]
        if "monitoring" not in _values(peer, {"kubernetes.io/metadata.name"})
    }
    assert ports == {5671, 15671, 4369, 25672}
    assert _one(objects, "RabbitmqCluster", "rabbitmq")["spec"]["tls"]["disableNonTLSListeners"] is True, "nor 15692"


def test_the_edge_believes_the_ingress_and_no_other_pod() -> None:
    """Whom it believes decides for others which client they are: whether they may register, and what they are throttled
    for. A NetworkPolicy alone would not do, for a cluster may ignore it."""
    patch = yaml.safe_load((KUBERNETES / OVERLAY / "edge.yaml").read_text())
    (container,) = patch["spec"]["template"]["spec"]["containers"]
    trusted = ipaddress.ip_network(_environment(container)["AUTH_TRUSTED_PROXIES"])
    assert trusted.num_addresses <= MANY_CONTROLLERS
    assert not any(trusted.overlaps(ipaddress.ip_network(pods)) for pods in PODS_NETWORKS)


def test_broker_and_database_may_do_nothing_but_their_work(objects: list[Object]) -> None:
    """As in docker-compose.prod.yml. What operators add to their pods is theirs."""
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


def test_images_can_be_pinned_by_digest(directory: Path, tmp_path: Path) -> None:
    """As the overlay's comment says: ours, and the broker's, which is in a resource of its operator."""
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


def test_the_prometheus_operator_is_not_needed(objects: list[Object]) -> None:
    """A cluster without it knows no PodMonitor, and would refuse everything else along with it."""
    assert not _all(objects, "PodMonitor")


def test_every_pod_is_monitored_once_and_as_the_alerts_call_it(objects: list[Object], monitors: list[Object]) -> None:
    """By labels and a port that its Deployment has; the broker's port is its operator's."""
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


def test_the_brokers_metrics_are_asked_under_a_name_of_its_certificate(
    objects: list[Object], monitors: list[Object]
) -> None:
    """By the authority in the secret that cert-manager makes."""
    (endpoint,) = _one(monitors, "PodMonitor", "rabbitmq")["spec"]["podMetricsEndpoints"]
    trusted = endpoint["tlsConfig"]["ca"]["secret"]
    certificate = _one(objects, "Certificate", "rabbitmq")["spec"]
    assert trusted == {"name": certificate["secretName"], "key": "ca.crt"}
    assert endpoint["tlsConfig"]["serverName"] in certificate["dnsNames"]


def test_secrets_are_kept_and_permissions_brought_up_to_date(tmp_path: Path) -> None:
    """Made again after an upgrade: no secret changes, and the definitions hold what the roles may do now."""
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


def test_the_generated_users_are_the_ones_that_are_named(secrets: dict[str, dict[str, str]]) -> None:
    """The definitions hold a user for each URL, and one of them may use the management interface."""
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
    """The pod's files and what is in them; of a certificate, whatever."""
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
    """As the overlay calls it: rendered, the name may end in a hash."""
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
    """Whatever stands under one of these keys, at any depth."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key in keys:
                yield value
            yield from _values(value, keys)
    elif isinstance(document, list):
        for item in document:
            yield from _values(item, keys)
