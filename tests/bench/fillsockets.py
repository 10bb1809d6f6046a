"""Open many TCP sockets in the current network namespace, then run a command beside them, for measuring.

    unshare -n python -m tests.bench.fillsockets 50000 sh -c "ss -Htan | wc -l"

Half of them are the calling ends of connections over loopback, half the accepted ones. They are held by processes of
their own, each with no more files than an ordinary limit allows, which end with the command.
"""

import fcntl
import os
import signal
import socket
import struct
import sys

from tests.lab.syscalls import die_with_parent

EACH = 8000
"""Sockets of one process."""


def loopback_up() -> None:
    """Set IFF_UP on lo."""
    with socket.socket() as control:
        fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", 1))


def hold(number: int, count: int, ready: int) -> None:
    """Connections over 127.0.0.(number + 1), two sockets each; never returns."""
    address = f"127.0.0.{number + 1}"
    server = socket.create_server((address, 7000), backlog=16)
    kept = []
    for _ in range(count // 2):
        caller = socket.create_connection((address, 7000))
        kept += [caller, server.accept()[0]]
    os.write(ready, b"!")
    signal.pause()


def main(arguments: list[str]) -> None:
    """COUNT, then the command."""
    loopback_up()
    left, number = int(arguments[0]), 0
    reader, writer = os.pipe()
    while left > 0:
        if os.fork() == 0:
            die_with_parent(signal.SIGKILL)
            os.close(reader)
            hold(number, min(left, EACH), writer)
        left, number = left - EACH, number + 1
    os.close(writer)
    for _ in range(number):
        assert os.read(reader, 1) == b"!"
    os.execvp(arguments[1], arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
