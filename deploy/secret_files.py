"""The files that docker-compose.prod.yml or deploy/kubernetes mount as secrets: made once, each kept when it exists.

A file's permissions are those that its container sees, and containers run as users of their own; so the files may be
read by all, and the directory by its owner alone.
"""

import base64
import functools
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yarl import URL

from deploy import permissions
from deploy.certificates import CA, make_authority, make_certificate, make_self_signed
from deploy.definitions import Account, definitions
from deploy.permissions import EDGE, QUEUE_LENGTH, WORKER, Permissions

DATABASE = "jincor_auth"
AMQPS_PORT, MANAGEMENT_PORT = 5671, 15671
VHOST = "/"
#: Where a container finds a secret.
MOUNTED = "/run/secrets"


@dataclass(frozen=True, slots=True)
class Place:
    """Under which names broker and database are reached, and the name of the replica set."""

    brokers: tuple[str, ...]
    databases: tuple[str, ...]
    replica_set: str


#: Names of services in docker-compose.prod.yml.
COMPOSE = Place(("rabbitmq-1", "rabbitmq-2", "rabbitmq-3"), ("mongo-1", "mongo-2", "mongo-3"), "auth")
#: The broker's Service, which knows its nodes; and the nodes of the replica set, as its operator names them.
KUBERNETES = Place(
    ("rabbitmq.jincor-auth.svc",),
    tuple(f"mongo-{number}.mongo-svc.jincor-auth.svc.cluster.local" for number in range(3)),
    "mongo",
)


def make_compose_secrets(directory: Path, public_host: str, *, renew_certificates: bool = False) -> None:
    """Everything that docker-compose.prod.yml mounts and is missing. Safe to repeat: what exists is in use.

    `renew_certificates`: the nodes' ones are made anew all the same. Authority, passwords and keys stay.
    """
    _make_credentials(directory, COMPOSE, {EDGE: permissions.edge(), WORKER: permissions.worker()})
    make_authority(directory)
    for host in (*COMPOSE.brokers, *COMPOSE.databases):
        make_certificate(directory, host, renew=renew_certificates)
    make_self_signed(directory, "edge-tls.pem", public_host)
    _make(directory, "erlang-cookie", _password)
    _make(directory, "mongo-keyfile", lambda: base64.b64encode(secrets.token_bytes(96)).decode())
    _make(directory, "mongo-root-password", _password)
    _protect(directory)


def make_kubernetes_secrets(directory: Path) -> None:
    """Everything that deploy/kubernetes/overlays/production names and is missing: its operators make the rest."""
    roles = {EDGE: permissions.edge(), WORKER: permissions.worker(), QUEUE_LENGTH: permissions.queue_length()}
    _make_credentials(directory, KUBERNETES, roles)
    _protect(directory)


def _make_credentials(directory: Path, place: Place, roles: Mapping[str, Permissions]) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _make(directory, "master-keys", lambda: "1:" + base64.b64encode(secrets.token_bytes(32)).decode())
    _make(directory, "registration-key", _password)
    for user in ("mongo-worker", "mongo-backup"):
        _make(directory, f"{user}-password", _password)
    _make_broker_users(directory, place, roles)
    _make(directory, "worker-mongo-url", lambda: _mongo_url(place, (directory / "mongo-worker-password").read_text()))


def _make_broker_users(directory: Path, place: Place, roles: Mapping[str, Permissions]) -> None:
    """A user's password is kept in its URL. Definitions are made anew when those that exist allow something else."""
    accounts, target = [], directory / "definitions.json"
    unchanged = target.exists()
    for role, permitted in roles.items():
        path = directory / (f"{role}-url" if role == QUEUE_LENGTH else f"{role}-amqp-url")
        unchanged &= path.exists()
        url = _management_url if role == QUEUE_LENGTH else _amqp_url
        password = _password_in(path.read_text()) if path.exists() else _password()
        account = Account(role, password, permitted)
        accounts.append(account)
        _make(directory, path.name, functools.partial(_for_each, place.brokers, url, account))
    made = definitions(VHOST, accounts)
    if not (unchanged and _without_salt(json.loads(target.read_text())) == _without_salt(made)):
        target.unlink(missing_ok=True)
        target.write_text(json.dumps(made, indent=1))


def _for_each(hosts: tuple[str, ...], url: Callable[[Account, str], str], account: Account) -> str:
    return ",".join(url(account, host) for host in hosts)


def _password_in(urls: str) -> str:
    return URL(urls.partition(",")[0]).password or ""


def _without_salt(made: dict[str, Any]) -> dict[str, Any]:
    """Definitions as they can be compared: the hash of a password is another one each time."""
    users = [{**user, "password_hash": None} for user in made["users"]]
    return {**made, "users": users}


def _protect(directory: Path) -> None:
    for path in directory.iterdir():
        path.chmod(0o600 if path.suffix == ".key" else 0o444)


def _amqp_url(account: Account, host: str) -> str:
    return f"amqps://{account.user}:{account.password}@{host}:{AMQPS_PORT}/?cafile={MOUNTED}/{CA}"


def _management_url(account: Account, host: str) -> str:
    return f"https://{account.user}:{account.password}@{host}:{MANAGEMENT_PORT}/"


def _mongo_url(place: Place, password: str) -> str:
    options = f"replicaSet={place.replica_set}&authSource={DATABASE}&tls=true&tlsCAFile={MOUNTED}/{CA}"
    return f"mongodb://worker:{password}@{','.join(place.databases)}/{DATABASE}?{options}"


def _password() -> str:
    """Fit for a URL as it is."""
    return secrets.token_urlsafe(32)


def _make(directory: Path, name: str, content: Callable[[], str]) -> None:
    path = directory / name
    if not path.exists():
        path.write_text(content())
