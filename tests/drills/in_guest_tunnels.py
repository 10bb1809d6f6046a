"""Every kind of tunnel at the MTU that the kernel gives it, which fits to the byte; and one byte above.

Run by test_tunnel_mtu_headroom_missing.py beside it, in the guest: the test machine's own kernel may lack most kinds.
Not collected by itself.
"""

from __future__ import annotations

import re
from typing import Any

from tests.lab import Host, Lab

RULE = "tunnel-mtu-headroom-missing"
V4, V6 = "local 192.0.2.1 remote 192.0.2.{}", "local 2001:db8::1 remote 2001:db8::{}"
TUNNELS = {
    "vxlan4": "type vxlan id 1 dstport 4789 dev eth0 remote 192.0.2.{}",
    "vxlan6": "type vxlan id 2 dstport 4789 dev eth0 remote 2001:db8::{}",
    "geneve4": "type geneve id 1 remote 192.0.2.{}",
    "geneve6": "type geneve id 2 remote 2001:db8::{}",
    "gre": f"type gre {V4}",
    "grekey": f"type gre key 5 {V4}",
    "greall": f"type gre key 6 csum seq {V4}",
    "gretap": f"type gretap {V4}",
    "ipip": f"type ipip {V4}",
    "sit": f"type sit {V4}",
    "ip6tnl": f"type ip6tnl {V6}",
    "ip6tnlbare": f"type ip6tnl encaplimit none {V6}",
    "ip6gre": f"type ip6gre {V6}",
    "ip6grekey": f"type ip6gre key 7 {V6}",
    "ip6gretap": f"type ip6gretap encaplimit none {V6}",
}


def sizes(host: Host) -> dict[str, int]:
    shown = host.run("ip", "-o", "link", "show").stdout
    return {name: int(mtu) for name, mtu in re.findall(r"^\d+: (\w+)@?\S*: .* mtu (\d+) ", shown, re.MULTILINE)}


def found(host: Host) -> dict[str, dict[str, Any]]:
    report = host.report("--rule", RULE)
    assert report["not_evaluated"] == []
    return {finding["subject"]["ifname"]: finding for finding in report["findings"]}


def test_every_kind_fits_as_the_kernel_makes_it_and_not_a_byte_more(lab: Lab) -> None:
    host = lab.host("edge1")
    lab.link(host, "eth0", lab.host("edge2"), "eth0", a_addresses=["192.0.2.1/24", "2001:db8::1/64"])
    ends = {name: settings.format(100 + number) for number, (name, settings) in enumerate(TUNNELS.items())}
    host.ip("\n".join(f"link add name {name} {end}\nlink set dev {name} up" for name, end in ends.items()))
    shown = sizes(host)
    made = {name: shown[name] for name in TUNNELS}
    assert found(host) == {}

    free = {name: mtu for name, mtu in made.items() if not name.startswith("vxlan")}  # vxlan on a device refuses more
    host.ip("\n".join(f"link set dev {name} mtu {mtu + 1}" for name, mtu in free.items()))
    alarms = found(host)
    assert set(alarms) == set(free)
    for name, mtu in free.items():
        assert f"leaves {mtu} of the 1500 that eth0 carries" in alarms[name]["message"]

    host.ip("\n".join(f"link set dev {name} mtu {mtu}" for name, mtu in free.items()))
    host.ip("link set dev eth0 mtu 1499")
    assert set(found(host)) == set(TUNNELS)
