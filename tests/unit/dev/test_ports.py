"""Which ports the local stack's servers get."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.ports import LOOPBACK, accepts_connections, free_port, is_free, keep_ports


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((LOOPBACK, free_port())) as server:
        yield server.getsockname()[1]


def test_a_port_with_a_server_is_taken(taken_port: int) -> None:
    """A port is not free while somebody listens on it."""
    assert not is_free(taken_port)
    assert is_free(free_port())


async def test_a_server_accepts_connections(taken_port: int) -> None:
    """Readiness is told by connecting, not by the port being taken."""
    assert await accepts_connections(taken_port)
    assert not await accepts_connections(free_port())


def test_ports_are_kept(tmp_path: Path) -> None:
    """The next start in the same directory gets the same ports."""
    file = tmp_path / "ports.json"
    assert keep_ports(file, {"amqp": None, "dist": None}) == keep_ports(file, {"amqp": None, "dist": None})


def test_a_kept_port_that_was_taken_is_replaced(tmp_path: Path, taken_port: int) -> None:
    """A port that somebody else uses now does not keep the stack from starting."""
    file = tmp_path / "ports.json"
    keep_ports(file, {"amqp": taken_port})
    assert keep_ports(file, {"amqp": None})["amqp"] != taken_port


def test_a_port_that_was_asked_for_is_used(tmp_path: Path, taken_port: int) -> None:
    """Whoever asks for a port gets it, or an error from the server; never another one."""
    assert keep_ports(tmp_path / "ports.json", {"amqp": taken_port})["amqp"] == taken_port
