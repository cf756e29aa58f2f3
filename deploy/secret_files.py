"""The files that docker-compose.prod.yml mounts as secrets: made once, each kept as it is when it exists.

A file's permissions are those that its container sees, and containers run as users of their own; so the files may be
read by all, and the directory by its owner alone.
"""

import base64
import json
import secrets
from collections.abc import Callable
from pathlib import Path

from deploy import permissions
from deploy.certificates import CA, make_authority, make_certificate, make_self_signed
from deploy.definitions import Account, definitions

#: Names of services in docker-compose.prod.yml.
BROKERS = ("rabbitmq-1", "rabbitmq-2", "rabbitmq-3")
DATABASES = ("mongo-1", "mongo-2", "mongo-3")
DATABASE, REPLICA_SET = "jincor_auth", "auth"
AMQPS_PORT = 5671
VHOST = "/"
#: Where a container finds a secret.
MOUNTED = "/run/secrets"


def make_secrets(directory: Path, public_host: str) -> None:
    """Everything that is missing. Safe to repeat: what exists is in use somewhere."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    make_authority(directory)
    for host in (*BROKERS, *DATABASES):
        make_certificate(directory, host)
    make_self_signed(directory, "edge-tls.pem", public_host)

    _make(directory, "master-keys", lambda: "1:" + base64.b64encode(secrets.token_bytes(32)).decode())
    _make(directory, "registration-key", _password)
    _make(directory, "erlang-cookie", _password)
    _make(directory, "mongo-keyfile", lambda: base64.b64encode(secrets.token_bytes(96)).decode())
    for user in ("mongo-root", "mongo-worker", "mongo-backup"):
        _make(directory, f"{user}-password", _password)
    _make_broker_users(directory)
    _make(directory, "worker-mongo-url", lambda: _mongo_url((directory / "mongo-worker-password").read_text()))
    for path in directory.iterdir():
        path.chmod(0o600 if path.suffix == ".key" else 0o444)


def _make_broker_users(directory: Path) -> None:
    roles = {"edge": permissions.edge(), "worker": permissions.worker()}
    urls = {role: directory / f"{role}-amqp-url" for role in roles}
    if all(path.exists() for path in (directory / "definitions.json", *urls.values())):
        return
    accounts = [Account(role, _password(), permitted) for role, permitted in roles.items()]
    for account in accounts:
        urls[account.user].unlink(missing_ok=True)
        urls[account.user].write_text(",".join(_amqp_url(account, host) for host in BROKERS))
    (directory / "definitions.json").unlink(missing_ok=True)
    (directory / "definitions.json").write_text(json.dumps(definitions(VHOST, accounts), indent=1))


def _amqp_url(account: Account, host: str) -> str:
    return f"amqps://{account.user}:{account.password}@{host}:{AMQPS_PORT}/?cafile={MOUNTED}/{CA}"


def _mongo_url(password: str) -> str:
    options = f"replicaSet={REPLICA_SET}&authSource={DATABASE}&tls=true&tlsCAFile={MOUNTED}/{CA}"
    return f"mongodb://worker:{password}@{','.join(DATABASES)}/{DATABASE}?{options}"


def _password() -> str:
    """Fit for a URL as it is."""
    return secrets.token_urlsafe(32)


def _make(directory: Path, name: str, content: Callable[[], str]) -> None:
    path = directory / name
    if not path.exists():
        path.write_text(content())
