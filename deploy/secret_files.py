"""Secret files for docker-compose.prod.yml and deploy/kubernetes. Existing files are kept.

A mounted file keeps its owner and mode, and containers run as other users. Compose therefore gives each
container the files' group, which may read them; only the owner may enter the directory. On Kubernetes only
kustomize reads the files.
"""

import base64
import dataclasses
import functools
import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from yarl import URL

from deploy import permissions
from deploy.certificates import CA, make_authority, make_certificate, make_self_signed
from deploy.definitions import Account, definitions
from deploy.permissions import EDGE, QUEUE_LENGTH, SHARED_BROKER_PREFIX, WORKER, Permissions
from deploy.private_files import GROUP_READS, OWNER_READS, close_directory, protect_file, write_private

DATABASE = "jincor_auth"
AMQPS_PORT, MANAGEMENT_PORT = 5671, 15671
VHOST = "/"
#: Certificate authority of a shared broker; the operator provides the file.
BROKER_CA = "broker-ca.pem"
#: Directory of secrets in a container.
MOUNTED = "/run/secrets"


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Hosts of broker and database, and the names that the secrets use on them."""

    brokers: tuple[str, ...]
    databases: tuple[str, ...]
    replica_set: str
    vhost: str = VHOST
    broker_ca: str = CA
    user_prefix: str = ""

    def in_vhost(self, vhost: str) -> "Place":
        """Return a copy that uses this virtual host of the broker."""
        return dataclasses.replace(self, vhost=vhost)

    def on_broker(self, hosts: tuple[str, ...]) -> "Place":
        """Return a copy for a shared broker: it has its own certificate authority, and our users get a prefix."""
        return dataclasses.replace(self, brokers=hosts, broker_ca=BROKER_CA, user_prefix=SHARED_BROKER_PREFIX)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Hosts that get certificates of our authority."""
        return (*(self.brokers if self.broker_ca == CA else ()), *self.databases)


#: Names of services in docker-compose.prod.yml.
COMPOSE = Place(("rabbitmq-1", "rabbitmq-2", "rabbitmq-3"), ("mongo-1", "mongo-2", "mongo-3"), "auth")
#: The Kubernetes Service of the broker, and the names that the database operator gives to the nodes of the replica set.
KUBERNETES = Place(
    ("rabbitmq.jincor-auth.svc",),
    tuple(f"mongo-{number}.mongo-svc.jincor-auth.svc.cluster.local" for number in range(3)),
    "mongo",
)


def make_compose_secrets(
    directory: Path, public_host: str, place: Place = COMPOSE, *, renew_certificates: bool = False
) -> tuple[str, ...]:
    """Create the missing secrets of docker-compose.prod.yml. Existing files are kept, so it can be repeated.

    `renew_certificates` replaces the nodes' certificates; authority, passwords and keys stay. Returns the names of
    files that other users of the machine could read until now. Raises `ValueError` if existing files are for another
    broker user or virtual host than `place`, or if another user owns the directory or a file in it.
    """
    exposed = close_directory(directory)
    _make_credentials(directory, place, {EDGE: permissions.edge(), WORKER: permissions.worker()})
    make_authority(directory)
    for host in place.nodes:
        make_certificate(directory, host, renew=renew_certificates)
    make_self_signed(directory, "edge-tls.pem", public_host)
    _make(directory, "erlang-cookie", _password)
    _make(directory, "mongo-keyfile", lambda: base64.b64encode(secrets.token_bytes(96)).decode())
    _make(directory, "mongo-root-password", _password)
    for path in directory.iterdir():
        # No container mounts the authority's key.
        protect_file(path, OWNER_READS if path.suffix == ".key" else GROUP_READS)
    return exposed


def make_kubernetes_secrets(directory: Path, place: Place = KUBERNETES) -> tuple[str, ...]:
    """Create the missing secrets of deploy/kubernetes/overlays/production; Kubernetes operators create the others.

    Returns and raises as `make_compose_secrets` does.
    """
    exposed = close_directory(directory)
    roles = {EDGE: permissions.edge(), WORKER: permissions.worker(), QUEUE_LENGTH: permissions.queue_length()}
    _make_credentials(directory, place, roles)
    for path in directory.iterdir():
        protect_file(path, OWNER_READS)
    return exposed


def _make_credentials(directory: Path, place: Place, roles: Mapping[str, Permissions]) -> None:
    _make(directory, "master-keys", lambda: "1:" + base64.b64encode(secrets.token_bytes(32)).decode())
    _make(directory, "registration-key", _password)
    for user in ("mongo-worker", "mongo-deploy", "mongo-backup"):
        _make(directory, f"{user}-password", _password)
    _make_broker_users(directory, place, roles)
    for user in ("worker", "deploy"):
        _make(directory, f"{user}-mongo-url", functools.partial(_mongo_url, directory, place, user))


def _make_broker_users(directory: Path, place: Place, roles: Mapping[str, Permissions]) -> None:
    """Create the URLs of broker users, which hold their passwords, and the definitions.

    Existing definitions are replaced if their permissions differ.
    """
    accounts, target = [], directory / "definitions.json"
    unchanged = target.exists()
    for role, permitted in roles.items():
        path = directory / (f"{role}-url" if role == QUEUE_LENGTH else f"{role}-amqp-url")
        unchanged &= path.exists()
        url = _management_url if role == QUEUE_LENGTH else _amqp_url
        user = place.user_prefix + role
        password = _kept_password(path, user, place.vhost) if path.exists() else _password()
        accounts.append(Account(user, password, permitted))
        _make(directory, path.name, functools.partial(_for_each_broker, place, url, user, password))
    made = definitions(place.vhost, accounts)
    if not (unchanged and _without_salt(json.loads(target.read_text())) == _without_salt(made)):
        write_private(target, json.dumps(made, indent=1), OWNER_READS)


def _for_each_broker(place: Place, url: Callable[[Place, str, str], str], user: str, password: str) -> str:
    return ",".join(url(place, f"{user}:{password}", host) for host in place.brokers)


def _kept_password(path: Path, user: str, vhost: str) -> str:
    """Return the password in an existing URL. Raises `ValueError` if it is for another user or virtual host."""
    url = URL(path.read_text().partition(",")[0])
    kept = url.path.removeprefix("/") or VHOST
    if (url.user, kept) != (user, vhost):
        raise ValueError(
            f"{path} is for user {url.user} in virtual host {kept}, not for {user} in {vhost}: "
            "pass --broker and --vhost as before, or move that file away"
        )
    return url.password or ""


def _without_salt(made: dict[str, Any]) -> dict[str, Any]:
    """Return definitions without password hashes, which differ each time because of their salt."""
    users = [{**user, "password_hash": None} for user in made["users"]]
    return {**made, "users": users}


def _amqp_url(place: Place, credentials: str, host: str) -> str:
    # Always with the virtual host: for Java and librabbitmq a URL that ends in `/` names the empty one.
    vhost = quote(place.vhost, safe="")
    return f"amqps://{credentials}@{host}:{AMQPS_PORT}/{vhost}?cafile={MOUNTED}/{place.broker_ca}"


def _management_url(place: Place, credentials: str, host: str) -> str:
    path = "" if place.vhost == VHOST else quote(place.vhost, safe="")  # the autoscaler takes no path as `/`
    return f"https://{credentials}@{host}:{MANAGEMENT_PORT}/{path}"


def _mongo_url(directory: Path, place: Place, user: str) -> str:
    password = (directory / f"mongo-{user}-password").read_text()
    options = f"replicaSet={place.replica_set}&authSource={DATABASE}&tls=true&tlsCAFile={MOUNTED}/{CA}"
    return f"mongodb://{user}:{password}@{','.join(place.databases)}/{DATABASE}?{options}"


def _password() -> str:
    """Return a random password that needs no escaping in a URL."""
    return secrets.token_urlsafe(32)


def _make(directory: Path, name: str, content: Callable[[], str]) -> None:
    path = directory / name
    if not path.exists():
        write_private(path, content(), OWNER_READS)
