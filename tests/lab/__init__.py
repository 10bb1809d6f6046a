"""Real hosts in namespaces, for tests.

    with Lab() as lab:
        a, b = lab.host("a"), lab.host("b")
        lab.link(a, "eth0", b, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
        a.run("ping", "-c1", "192.0.2.2")

host.py is one machine, birth.py what its first process does, lab.py the cables, wait.py the polling.
Needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN) and Linux 5.8; changes nothing outside the namespaces it makes.
"""

from tests.lab.host import Host, LabError, Ran
from tests.lab.lab import Lab
from tests.lab.wait import wait_until

__all__ = ["Host", "Lab", "LabError", "Ran", "wait_until"]
