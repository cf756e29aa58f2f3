"""A script that prints a version's broker definitions, with the source of that version first on its path.

Its standard input is a JSON object: `vhost`; `edge`, `worker` and `service`, each a user and a password; and the
`tenant` of the service.
"""

import json
import sys

from deploy.definitions import Account, Service, definitions
from deploy.permissions import SERVICE_OPERATIONS, edge, service, worker

#: The name of the service and of its exchange.
NAME = "mixed"

settings = json.load(sys.stdin)
roles = {"edge": edge(), "worker": worker(), "service": service(NAME, settings["tenant"])}
accounts = [Account(user, password, roles[role]) for role in roles for user, password in [settings[role]]]
json.dump(definitions(settings["vhost"], accounts, [Service(NAME, SERVICE_OPERATIONS)]), sys.stdout)
