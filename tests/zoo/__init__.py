"""Healthy hosts that look odd: on none of them may netdiag raise an alarm.

One function a host; its docstring says what it is and what makes it odd. test_zoo.py looks at each of them twice with
a second of traffic between, as ``netdiag check`` does.
"""

from collections.abc import Callable

from tests.lab import Host, Lab

Animal = Callable[[Lab], Host]


def ping(host: Host, *addresses: str) -> None:
    """Have the neighbours known, as on a host that has been up for a while."""
    for address in addresses:
        host.run("ping", "-c1", "-W2", address)
