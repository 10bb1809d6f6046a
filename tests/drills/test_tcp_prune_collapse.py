"""A program cuts its receive buffer below what its peer may already send: what arrives is thrown away."""

import contextlib
import socket

from tests.drills.harness import Drill, drill_test
from tests.drills.socketworld import pair
from tests.lab import Host, Lab

BUFFER = {"cut": False}


def upload(lab: Lab, host: Host) -> None:
    """A connection of the client, which sends what it may; nobody reads."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(host.inside_network(lambda: socket.create_server(("192.0.2.1", 8080))))
        dial = lab.hosts["client"].inside_network
        client = stack.enter_context(dial(lambda: socket.create_connection(("192.0.2.1", 8080), 2)))
        connection = stack.enter_context(server.accept()[0])
        if BUFFER["cut"]:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(40):
                client.send(bytes(1000))


test_drill = drill_test(
    Drill(
        rule="tcp-prune-collapse",
        build=pair,
        break_=lambda lab, host: BUFFER.update(cut=True),
        repair=lambda lab, host: BUFFER.update(cut=False),
        during=upload,
        severity="warning",
        expect={"kind": "host"},
    )
)
