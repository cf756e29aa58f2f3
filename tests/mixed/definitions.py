"""The broker's definitions as a version makes them; a script, with the source of that version first on its path.

On its standard input is a JSON object: `vhost`, `edge`, `worker` and `service`, each of which is a user and a password;
and the `tenant` of the service.
"""

import json
import sys

from deploy.definitions import Account, Service, definitions
from deploy.permissions import SERVICE_OPERATIONS, edge, service, worker

#: What the service calls itself, and its exchange is called after.
NAME = "mixed"

wanted = json.load(sys.stdin)
roles = {"edge": edge(), "worker": worker(), "service": service(NAME, wanted["tenant"])}
accounts = [Account(user, password, roles[role]) for role in roles for user, password in [wanted[role]]]
json.dump(definitions(wanted["vhost"], accounts, [Service(NAME, SERVICE_OPERATIONS)]), sys.stdout)
