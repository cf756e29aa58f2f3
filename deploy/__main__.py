"""`python -m deploy secrets|kubernetes-secrets|service|both-versions`: the commands of docs/deployment.md."""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy import permissions
from deploy.certificates import good_until
from deploy.definitions import Account, Service, definitions, limits_of
from deploy.permissions import CLIENT_OPERATIONS, IDENTITY_OPERATIONS, SERVICE_LIMITS, SERVICE_OPERATIONS, Limits
from deploy.secret_files import COMPOSE, KUBERNETES, VHOST, Place, make_compose_secrets, make_kubernetes_secrets
from deploy.upgrade import of_both
from shared.contracts.permissions import Permission


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy")
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("secrets", help="create the missing secrets of docker-compose.prod.yml")
    making.add_argument("--directory", type=Path, default=Path("deploy/secrets"))
    making.add_argument("--host", default="localhost", help="public name of the edge, for a test certificate")
    making.add_argument(
        "--renew-certificates", action="store_true", help="renew the nodes' certificates, keep the rest"
    )
    placing = commands.add_parser("kubernetes-secrets", help="create the missing secrets of deploy/kubernetes")
    placing.add_argument("--directory", type=Path, default=Path("deploy/kubernetes/overlays/production/secrets"))
    for command in (making, placing):
        command.add_argument(
            "--broker", type=_hosts, help="hosts of a broker shared with other products, separated by commas"
        )
        command.add_argument("--vhost", default=VHOST, help="virtual host on the broker")
    adding = commands.add_parser("service", help="print definitions of a service's broker user; password from stdin")
    adding.add_argument("name", type=_name, help="name of the service: its broker user, and its `name` for AuthClient")
    adding.add_argument("--tenant", type=_tenant, required=True, help="id of the tenant")
    adding.add_argument("--vhost", default=VHOST)
    calls = adding.add_mutually_exclusive_group()
    calls.add_argument(
        "--operations",
        type=_operations,
        default=SERVICE_OPERATIONS,
        help=f"operations, separated by commas; added to those of the client: {', '.join(CLIENT_OPERATIONS)}",
    )
    calls.add_argument(
        "--permissions",
        type=_permissions,
        help="permissions, separated by commas: the service calls their operations and those that every client needs,"
        f" {', '.join(IDENTITY_OPERATIONS)}; it receives events only with {Permission.EVENTS_READ}",
    )
    adding.add_argument(
        "--max-connections",
        type=_positive,
        default=SERVICE_LIMITS.max_connections,
        help="connections of the user, from all processes of the service (default: %(default)s)",
    )
    adding.add_argument(
        "--max-channels",
        type=_positive,
        default=SERVICE_LIMITS.max_channels,
        help="channels on all these connections (default: %(default)s)",
    )
    adding.add_argument("--keep-user", action="store_true", help="keep the password of an existing user")
    joining = commands.add_parser("both-versions", help="print definitions with the permissions of both versions")
    for version in ("old", "new"):
        joining.add_argument(version, type=Path, help=f"definitions.json of the {version} version")
    arguments = parser.parse_args()
    try:
        if arguments.command == "secrets":
            _make_compose_secrets(arguments)
        elif arguments.command == "kubernetes-secrets":
            _warn(make_kubernetes_secrets(arguments.directory, _place(KUBERNETES, arguments)))
        elif arguments.command == "both-versions":
            old, new = (json.loads(path.read_text()) for path in (arguments.old, arguments.new))
            json.dump(of_both(old, new), sys.stdout, indent=1)
        else:
            _print_service(arguments)
    except (ValueError, OSError) as error:
        sys.exit(f"{arguments.command}: {error}")


def _make_compose_secrets(arguments: argparse.Namespace) -> None:
    place = _place(COMPOSE, arguments)
    renew = arguments.renew_certificates
    _warn(make_compose_secrets(arguments.directory, arguments.host, place, renew_certificates=renew))
    for certificate in sorted(arguments.directory.glob("*.pem")):
        sys.stdout.write(f"{certificate.name} expires on {good_until(certificate):%Y-%m-%d}\n")
    sys.stdout.write(f"export SECRETS_GID={arguments.directory.stat().st_gid}\n")


def _warn(exposed: tuple[str, ...]) -> None:
    if exposed:
        sys.stderr.write(
            f"warning: other users of this machine could read {', '.join(exposed)} until now; this is fixed. "
            'If one of them may have read a secret, replace it: docs/operations.md, "Secrets that others could read".\n'
        )


def _place(place: Place, arguments: argparse.Namespace) -> Place:
    in_vhost = place.in_vhost(arguments.vhost)
    return in_vhost.on_broker(arguments.broker) if arguments.broker else in_vhost


def _print_service(arguments: argparse.Namespace) -> None:
    password = None if arguments.keep_user else sys.stdin.readline().strip()
    if password == "":
        raise ValueError("pass the password of the user on standard input")
    operations, events = arguments.operations, True
    if arguments.permissions is not None:
        operations, events = (
            permissions.operations_of(arguments.permissions),
            Permission.EVENTS_READ in arguments.permissions,
        )
    permitted = permissions.service(arguments.name, arguments.tenant, operations, events=events)
    limits = Limits(arguments.max_connections, arguments.max_channels)
    account = Account(arguments.name, password, permitted, limits)
    added = definitions(arguments.vhost, [account], [Service(arguments.name, operations)])
    json.dump(added, sys.stdout, indent=1)
    if arguments.keep_user:
        sys.stderr.write(
            "definitions cannot set the limits of a user without its password; set them with\n"
            f"rabbitmqctl set_user_limits {arguments.name} '{json.dumps(limits_of(limits))}'\n"
        )


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(host.strip() for host in text.split(","))


def _name(text: str) -> str:
    with _as_refusal():
        return permissions.service_name(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a number of at least 1, not {text!r}")
    return int(text)


def _tenant(text: str) -> str:
    # The id becomes part of a routing key pattern: a permission for `*` would cover every tenant.
    if not text or set(text) & set(".*#"):
        raise argparse.ArgumentTypeError(f"must be the id of a tenant, not {text!r}")
    return text


def _operations(text: str) -> tuple[str, ...]:
    with _as_refusal():
        return permissions.service_operations([name.strip() for name in text.split(",")])


def _permissions(text: str) -> frozenset[str]:
    wanted = frozenset(name.strip() for name in text.split(","))
    with _as_refusal():
        permissions.operations_of(wanted)
    return wanted


@contextlib.contextmanager
def _as_refusal() -> Iterator[None]:
    """Convert `ValueError` to the exception whose text argparse prints."""
    try:
        yield
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


main()
