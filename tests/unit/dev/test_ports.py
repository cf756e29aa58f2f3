"""Ports of the local stack's servers."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.ports import LOOPBACK, accepts_connections, free_port, is_free, keep_ports


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((LOOPBACK, free_port())) as server:
        yield server.getsockname()[1]


def test_port_with_a_listener_is_not_free(taken_port: int) -> None:
    assert not is_free(taken_port)
    assert is_free(free_port())


async def test_listening_server_accepts_connections(taken_port: int) -> None:
    """Readiness needs a connection; a taken port is not enough."""
    assert await accepts_connections(taken_port)
    assert not await accepts_connections(free_port())


def test_second_start_in_a_directory_gets_the_same_ports(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    assert keep_ports(file, {"amqp": None, "dist": None}) == keep_ports(file, {"amqp": None, "dist": None})


def test_kept_port_in_use_by_another_process_is_replaced(tmp_path: Path, taken_port: int) -> None:
    file = tmp_path / "ports.json"
    keep_ports(file, {"amqp": taken_port})
    assert keep_ports(file, {"amqp": None})["amqp"] != taken_port


def test_requested_port_in_use_is_not_replaced(tmp_path: Path, taken_port: int) -> None:
    """The server then fails with its own error."""
    assert keep_ports(tmp_path / "ports.json", {"amqp": taken_port})["amqp"] == taken_port
