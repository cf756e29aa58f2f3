"""TCP ports on the loopback address: is one free, find one, keep it for the next start."""

import asyncio
import errno
import json
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"

#: Below those the system gives to outgoing connections (from 32768 on Linux). Otherwise a client that keeps
#: trying to reach a broker that is down could be given its port, connect to itself, and keep the broker out.
PORTS: Final = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """True if a server could listen on this port of the loopback address now."""
    with socket.socket() as probe:
        # As servers do: connections of the last server that linger in TIME_WAIT do not take the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def free_port() -> int:
    """A port nobody listens on at this moment; nothing is reserved, so start the server soon."""
    while not is_free(port := secrets.choice(PORTS)):
        pass
    return port


def keep_ports(file: Path, wanted: Mapping[str, int | None]) -> dict[str, int]:
    """One port per name: the one asked for, else the one `file` remembers if it is free, else a free one.

    The choice is written to `file`, so that URLs outlive a restart.
    """
    remembered: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    ports = {}
    for name, port in wanted.items():
        last = remembered.get(name)
        ports[name] = port or (last if last and is_free(last) else free_port())
    file.write_text(json.dumps(ports))
    return ports


async def accepts_connections(port: int) -> bool:
    """True if a server accepts connections on this port of the loopback address."""
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    return True
