"""The network policies of the Kubernetes example, evaluated for each pair of pods as a network plugin does."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from dev.processes import REPOSITORY
from shared.contracts.operation import Lane

Object = dict[str, Any]

KUBERNETES = REPOSITORY / "deploy/kubernetes"
OPERATIONS = REPOSITORY / "docs/operations.md"
OURS = "jincor-auth"
#: The namespace of the ingress controller in the overlay.
CONTROLLERS = "haproxy-controller"
#: The label that docs/operations.md names for pods which run mongodump.
BACKUP = "app.kubernetes.io/component: database-client"
WORKERS = [f"worker-{lane}" for lane in Lane]


@dataclass(frozen=True)
class Pod:
    """A pod with the ports on which it listens, by name."""

    name: str
    labels: dict[str, str]
    ports: dict[str, int] = field(default_factory=dict)
    namespace: str = OURS
    namespace_labels: dict[str, str] = field(default_factory=dict)


#: Pods of operators: https://www.rabbitmq.com/kubernetes/operator/operator-overview, and MongoDB's operator.
OPERATED = [
    Pod(
        "rabbitmq",
        {"app.kubernetes.io/name": "rabbitmq"},
        {"amqps": 5671, "management-tls": 15671, "prometheus-tls": 15691, "epmd": 4369, "nodes": 25672},
    ),
    Pod("mongo", {"app": "mongo-svc"}, {"mongodb": 27017}),
]
#: Pods that are not ours, and one of a stranger in each namespace.
OTHERS = [
    Pod("backup", dict([BACKUP.split(": ")])),
    Pod("a stranger in our namespace", {}, {"http": 8000}),
    Pod("ingress controller", {"app.kubernetes.io/name": "kubernetes-ingress"}, namespace=CONTROLLERS),
    Pod("a stranger beside the ingress controller", {}, namespace=CONTROLLERS),
    Pod("prometheus", {"app.kubernetes.io/name": "prometheus"}, namespace="monitoring"),
    Pod("a stranger beside prometheus", {}, namespace="monitoring"),
    Pod("keda", {"app": "keda-operator"}, namespace="keda"),
    Pod("a stranger beside keda", {}, namespace="keda"),
    Pod(
        "service",
        {"jincor-auth/client": "true"},
        namespace="shop",
        namespace_labels={"jincor-auth/clients": "allowed"},
    ),
    Pod("a stranger beside a service", {}, namespace="shop", namespace_labels={"jincor-auth/clients": "allowed"}),
    Pod("a stranger that calls itself a service", {"jincor-auth/client": "true"}, namespace="elsewhere"),
    Pod("names", {"k8s-app": "kube-dns"}, {"dns": 53}, namespace="kube-system"),
    Pod("the Kubernetes API, or any address", {}, {"https": 443, "api": 6443, "http": 80}, namespace="outside"),
]
#: Each permitted connection: from, to, port. Probes of the kubelet are always permitted.
PERMITTED = {
    ("ingress controller", "edge", 8000),
    *(("prometheus", name, 9464) for name in ("edge", *WORKERS)),
    ("prometheus", "rabbitmq", 15691),
    *((name, "rabbitmq", 5671) for name in ("edge", *WORKERS, "service")),
    ("keda", "rabbitmq", 15671),
    ("rabbitmq", "rabbitmq", 4369),
    ("rabbitmq", "rabbitmq", 25672),
    *((name, "mongo", 27017) for name in (*WORKERS, "indexes", "backup", "mongo")),
    *(
        (name, "names", 53)
        for name in ("edge", *WORKERS, "indexes", "rabbitmq", "mongo", "backup", "a stranger in our namespace")
    ),
    *(
        (name, "the Kubernetes API, or any address", port)
        for name, port in itertools.product(("rabbitmq", "mongo"), (443, 6443))
    ),
}


@pytest.fixture(scope="module")
def policies() -> list[Object]:
    """The policies of the base, with the overlay's patch."""
    found: list[Object] = list(yaml.safe_load_all((KUBERNETES / "base/network.yaml").read_text()))
    (patch,) = yaml.safe_load((KUBERNETES / "overlays/production/ingress-controller.yaml").read_text())
    assert (patch["op"], patch["path"]) == ("replace", "/spec/ingress/0/from/0")
    (edge,) = [each for each in found if each["metadata"]["name"] == "edge"]
    edge["spec"]["ingress"][0]["from"][0] = patch["value"]
    return found


@pytest.fixture(scope="module")
def pods() -> list[Pod]:
    return [*_ours(), *OPERATED, *OTHERS]


def test_policies_permit_exactly_the_declared_connections(policies: list[Object], pods: list[Pod]) -> None:
    """Connections between two pods outside our namespace are not ours to decide."""
    permitted = {
        (source.name, target.name, port)
        for source, target in itertools.product(pods, pods)
        if OURS in (source.namespace, target.namespace)
        for port in target.ports.values()
        if _leaves(policies, source, target, port) and _enters(policies, source, target, port)
    }
    assert permitted - PERMITTED == set(), "too much"
    assert PERMITTED - permitted == set(), "too little"


def test_backup_label_is_the_documented_one() -> None:
    assert f"`{BACKUP}`" in " ".join(OPERATIONS.read_text().split())


def _ours() -> Iterator[Pod]:
    for path in sorted((KUBERNETES / "base").glob("*.yaml")):
        for each in yaml.safe_load_all(path.read_text()):
            if each["kind"] in {"Deployment", "Job"}:
                template = each["spec"]["template"]
                (container,) = template["spec"]["containers"]
                ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
                yield Pod(each["metadata"]["name"], template["metadata"]["labels"], ports)


def _leaves(policies: list[Object], source: Pod, target: Pod, port: int) -> bool:
    rules = _rules(policies, source, "Egress")
    return rules is None or any(_matches(rule, "to", target, target, port) for rule in rules)


def _enters(policies: list[Object], source: Pod, target: Pod, port: int) -> bool:
    rules = _rules(policies, target, "Ingress")
    return rules is None or any(_matches(rule, "from", source, target, port) for rule in rules)


def _rules(policies: list[Object], pod: Pod, direction: str) -> list[Object] | None:
    """Return the rules for a pod. None: no policy selects it, so everything is permitted."""
    selecting = [
        each["spec"]
        for each in policies
        if pod.namespace == OURS
        and direction in each["spec"]["policyTypes"]
        and _selects(each["spec"]["podSelector"], pod.labels)
    ]
    return [rule for spec in selecting for rule in spec.get(direction.lower(), ())] if selecting else None


def _matches(rule: Object, side: str, peer: Pod, listener: Pod, port: int) -> bool:
    # Named ports are those of the pod that listens.
    ports = [listener.ports.get(entry["port"], entry["port"]) for entry in rule["ports"]]
    return port in ports and (side not in rule or any(_is_peer(each, peer) for each in rule[side]))


def _is_peer(peer: Object, pod: Pod) -> bool:
    assert peer.keys() <= {"namespaceSelector", "podSelector"}, "no other selector is evaluated here"
    named = {"kubernetes.io/metadata.name": pod.namespace, **pod.namespace_labels}
    in_namespace = _selects(peer["namespaceSelector"], named) if "namespaceSelector" in peer else pod.namespace == OURS
    return in_namespace and _selects(peer.get("podSelector", {}), pod.labels)


def _selects(selector: Object, labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}, "no other selector is evaluated here"
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()
