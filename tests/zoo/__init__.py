"""Healthy hosts that look odd: on none of them may netdiag raise an alarm.

One function a host; its docstring says what it is and what makes it odd. test_zoo.py looks at each live one twice, with
traffic between, as ``netdiag check`` does. What others have told (told.py) and what was drawn up (drawn*.py) are
tables, which test_near.py judges. tests/zoo/near says which near miss of the catalogue lives in which host, and how
one sees it there.
"""

from collections.abc import Callable

from tests.lab import Host, Lab

Animal = Callable[[Lab], Host]


def ping(host: Host, *addresses: str) -> None:
    """Have the neighbours known, as on a host that has been up for a while."""
    for address in addresses:
        host.run("ping", "-c1", "-W2", address)
