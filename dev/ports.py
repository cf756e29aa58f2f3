"""TCP ports on the loopback address: check one, find a free one, and keep it for the next start."""

import asyncio
import errno
import json
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"

#: Below the system's range for outgoing connections, which starts at 32768 on Linux. A client that retries a
#: stopped broker might otherwise get the broker's port, connect to itself and block the broker's restart.
PORTS: Final = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Return whether a server could listen on this port now."""
    with socket.socket() as probe:
        # Servers set it too: connections in TIME_WAIT do not occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def free_port() -> int:
    """Return a port that is free now. It is not reserved, so start the server soon."""
    while not is_free(port := secrets.choice(PORTS)):
        pass
    return port


def keep_ports(file: Path, wanted: Mapping[str, int | None]) -> dict[str, int]:
    """Return a port for each name: the wanted one, else the stored one if it is free, else a free one.

    The choice is stored in `file`, so that URLs stay the same after a restart.
    """
    remembered: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    ports = {}
    for name, port in wanted.items():
        last = remembered.get(name)
        ports[name] = port or (last if last and is_free(last) else free_port())
    file.write_text(json.dumps(ports))
    return ports


async def accepts_connections(port: int) -> bool:
    """Return whether a server accepts connections on this port."""
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    return True
