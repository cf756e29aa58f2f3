"""`python -m dev.permission_tables`: generate the tables of docs/permissions.md from the contracts.

The text around the tables is written by hand and stays unchanged.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from api.main import create_app
from api.openapi import BY_OPERATOR
from api.settings import Settings
from shared.contracts import OPERATIONS
from shared.contracts.other_proofs import OTHER_PROOFS
from shared.contracts.permissions import MEANINGS, OPERATOR_PERMISSIONS, TENANT_PERMISSIONS, Permission

PAGE: Final = Path(__file__).parents[1] / "docs/permissions.md"
END: Final = "<!-- end of the table -->"


def page(text: str) -> str:
    """Return the page with its tables replaced."""
    for name, table in (("permissions", _permissions()), ("other proofs", _other_proofs())):
        begin = f"<!-- {name}: make permissions -->\n"
        if text.count(begin) != 1 or END not in text.partition(begin)[2]:
            raise ValueError(f"the page has no markers for the table of {name}")
        before, _, rest = text.partition(begin)
        text = before + begin + table + END + rest.partition(END)[2]
    return text


def _permissions() -> str:
    routes = _routes()
    return _table(
        ("permission", "allows", "operations and routes", "tenant token, key", "operator"),
        (
            (
                f"`{permission}`",
                MEANINGS[permission],
                "<br>".join(_needing(permission, routes)),
                "yes" if permission in TENANT_PERMISSIONS else "",
                "yes" if permission in OPERATOR_PERMISSIONS else "",
            )
            for permission in Permission
        ),
    )


def _needing(permission: Permission, routes: dict[str, list[str]]) -> Iterator[str]:
    """Yield the operations that need this permission, alone or with another one, or of operators."""
    for name, operation in OPERATIONS.items():
        if operation.permission is permission:
            second = f" (and `{operation.also_needs}`)" if operation.also_needs else ""
            yield f"{_operation(name, routes)}{second}"
        if operation.of_operator is permission:
            yield f"`{name}`: {', '.join(routes[f'{name}{BY_OPERATOR}'])}"


def _other_proofs() -> str:
    routes = _routes()
    rows = ((_operation(name, routes), f"{proof[:1].upper()}{proof[1:]}.") for name, proof in OTHER_PROOFS.items())
    return _table(("operation and route", "instead of a permission"), rows)


def _operation(name: str, routes: dict[str, list[str]]) -> str:
    return f"`{name}`: {', '.join(routes[name])}" if name in routes else f"`{name}`"


def _routes() -> dict[str, list[str]]:
    """Return the routes of each operation that has some."""
    document = create_app(Settings(amqp_url="amqp://broker.invalid")).openapi()
    routes: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            routes.setdefault(route["operationId"], []).append(f"`{method.upper()} {path}`")
    return routes


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {PAGE}")
