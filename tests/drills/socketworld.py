"""Worlds for the rules about sockets: a server and its client on one cable, and programs that misbehave."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable

from tests.lab import Host, Lab
from tests.lab.taps import name_process
from tests.lab.traffic import family_of
from tests.lab.wait import wait_until


def pair(lab: Lab, *, own_cgroup: bool = False) -> Host:
    """server eth0 192.0.2.1, 2001:db8::1 ---- 192.0.2.2, 2001:db8::2 eth0 client"""
    server, client = lab.host("server", own_cgroup=own_cgroup), lab.host("client")
    lab.link(
        server,
        "eth0",
        client,
        "eth0",
        a_addresses=["192.0.2.1/24", "2001:db8::1/64"],
        b_addresses=["192.0.2.2/24", "2001:db8::2/64"],
    )
    return server


def started(host: Host, comm: str, ready: Callable[[], object]) -> int:
    """A process that gets its sockets ready and then holds them until the host ends; its pid."""
    reader, writer = os.pipe()

    def work() -> None:
        name_process(comm)
        kept = ready()
        os.write(writer, b"!")
        signal.pause()
        del kept

    pid = host.fork(work)
    os.close(writer)
    said = os.read(reader, 1)
    os.close(reader)
    assert said == b"!", f"{comm} did not start"
    return pid


def listener(address: str, port: int, backlog: int) -> socket.socket:
    """A TCP socket that listens and is never accepted from."""
    server = socket.socket(family_of(address), socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen(backlog)
    return server


def bound(address: str, port: int) -> socket.socket:
    """A UDP socket that is never read."""
    receiver = socket.socket(family_of(address), socket.SOCK_DGRAM)
    receiver.bind((address, port))
    return receiver


def calls(address: str, port: int, count: int) -> list[socket.socket]:
    """So many connections begun, whatever comes of them."""
    made = []
    for _ in range(count):
        caller = socket.socket(family_of(address), socket.SOCK_STREAM)
        caller.setblocking(False)
        with contextlib.suppress(OSError):  # under way, or no port is left
            caller.connect((address, port))
        made.append(caller)
    return made


def stop(pid: int) -> None:
    """SIGSTOP, and wait until it is stopped."""
    os.kill(pid, signal.SIGSTOP)

    def stopped() -> bool:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"

    wait_until(stopped, 5, "the process is stopped")


def go_on(pid: int) -> None:
    """SIGCONT."""
    os.kill(pid, signal.SIGCONT)
