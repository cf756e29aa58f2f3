"""`python -m deploy secrets|kubernetes-secrets|service`: what docs/deployment.md has an operator run."""

import argparse
import json
import sys
from pathlib import Path

from deploy import permissions
from deploy.definitions import Account, Service, definitions
from deploy.permissions import SERVICE_OPERATIONS
from deploy.secret_files import VHOST, make_compose_secrets, make_kubernetes_secrets


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy")
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("secrets", help="make what docker-compose.prod.yml mounts and is missing")
    making.add_argument("--directory", type=Path, default=Path("deploy/secrets"))
    making.add_argument("--host", default="localhost", help="the edge's public name, for a certificate to try it out")
    placing = commands.add_parser("kubernetes-secrets", help="make what deploy/kubernetes needs and is missing")
    placing.add_argument("--directory", type=Path, default=Path("deploy/kubernetes/overlays/production/secrets"))
    adding = commands.add_parser("service", help="print definitions of a service's broker user; password on stdin")
    adding.add_argument("name", help="of the service: its user, and the `name` it gives to AuthClient")
    adding.add_argument("--tenant", required=True, help="the tenant's id")
    adding.add_argument("--vhost", default=VHOST)
    adding.add_argument("--operations", type=_operations, default=SERVICE_OPERATIONS, help="separated by commas")
    arguments = parser.parse_args()
    if arguments.command == "secrets":
        make_compose_secrets(arguments.directory, arguments.host)
    elif arguments.command == "kubernetes-secrets":
        make_kubernetes_secrets(arguments.directory)
    else:
        _print_service(arguments)


def _print_service(arguments: argparse.Namespace) -> None:
    password = sys.stdin.readline().strip()
    if not password:
        sys.exit("service: its password is expected on standard input")
    account = Account(arguments.name, password, permissions.service(arguments.name, arguments.tenant))
    added = definitions(arguments.vhost, [account], [Service(arguments.name, arguments.operations)])
    json.dump(added, sys.stdout, indent=1)


def _operations(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if unknown := set(names) - set(SERVICE_OPERATIONS):
        raise argparse.ArgumentTypeError(f"not for services: {', '.join(sorted(unknown))}")
    return names


main()
