"""A walk that goes on behind a cable, in another namespace of the same host."""

import json

import pytest

from tests.lab import Lab


@pytest.mark.lab
def test_the_walk_goes_on_behind_a_cable() -> None:
    with Lab() as lab:
        host = lab.host("a")
        host.sh("""
            ip netns add guest
            ip link add v0 type veth peer name eth0 netns guest
            ip address add 10.5.0.1/24 dev v0
            ip link set v0 up
            ip -n guest address add 10.5.0.2/24 dev eth0
            ip -n guest link set eth0 up
            ip neighbour replace 10.5.0.2 dev v0 lladdr $(ip netns exec guest cat /sys/class/net/eth0/address)
        """)
        lab.wait(lambda: host.running("v0"))
        code, out, err = host.netdiag("path", "10.5.0.2", "--json", "--all-netns")
        assert code == 0, err
        report = json.loads(out)
        assert (report["verdict"], report["dev"]) == ("sent", "v0")
        behind = [step for step in report["steps"] if step["depth"] == 1]
        assert behind[0]["object"] == "eth0"
        assert behind[-1]["decision"] == "delivered"
        alone = json.loads(host.netdiag("path", "10.5.0.2", "--json")[1])
        assert not [step for step in alone["steps"] if step["depth"]]
