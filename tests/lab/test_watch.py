"""``netdiag watch`` on a real host: a finding appears with the fault and clears with the repair."""

import json
import sys

from tests.lab import Lab

LOG = "/run/watch.log"


def test_a_fault_appears_and_clears(lab: Lab) -> None:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    watching = host.spawn(sys.executable, "-m", "netdiag", "watch", "--json", "--every", "600", output=LOG)

    def events() -> list[tuple[str, str]]:
        lines = host.run("cat", LOG, check=False).stdout.splitlines()
        return [(e["event"], e["finding"]["rule"]) for e in map(json.loads, lines) if "finding" in e]

    def mtu(bytes_: int) -> None:
        peer.ip(f"link set dev eth0 mtu {bytes_}")
        host.ip("link set dev eth0 mtu 1400\nlink set dev eth0 mtu 1500")  # heard here; the far end's change is not

    mtu(9000)
    lab.wait(lambda: ("appeared", "link-mtu-peer-mismatch") in events(), 20, "it appears")
    mtu(1500)
    lab.wait(lambda: ("cleared", "link-mtu-peer-mismatch") in events(), 20, "it clears")
    watching.kill()
