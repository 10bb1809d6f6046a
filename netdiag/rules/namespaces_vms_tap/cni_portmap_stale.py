"""What it checks
  A port mapping of CNI leads to an address that no container of this host has any more: the rule is the portmap
  plugin's (chains CNI-DN-..., or the table cni_hostport), or another's, and the address is in the subnet of a bridge
  that is named as CNI names its own (cni0, cni-podman0, nomad). Nobody answers there; or host-local, which gives out
  the addresses of that subnet, has not given out this one; or the same port is mapped to another container as well,
  behind it.

Why it matters
  When a sandbox is removed while the node restarts, or the runtime lost its cache, the plugin's DEL never runs and the
  rules stay. A new allocation that gets the same host port is listed behind them: its packets go to the dead address,
  and "the port is open, and nothing answers".

Confirm
  nft -a list chain FAMILY TABLE CHAIN    (or iptables -t nat -S CNI-DN-...)
  ip route get ADDRESS
  ls /var/lib/cni/networks /var/lib/cni/results

Fix
  nft delete rule FAMILY TABLE CHAIN handle N; where the whole chain belongs to one dead container, also the jump to it
  in CNI-HOSTPORT-DNAT. Nothing that lives is cut off. Then conntrack -D --dst-nat ADDRESS.

Not flagged
  Containers that are there, or whose address was not asked for yet on a bridge with ports; where more addresses are
  mapped to than it has ports, one of them is gone: info. Rules of others, Docker's and Podman's NETAVARK chains among
  them (nf-orphan-dnat-to-dead). A sandbox that is just starting: look twice (a possibility only where one came or went
  while the host was read).

References
  cni.dev "portmap plugin"; github.com/hashicorp/nomad issue 11901
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, nat, port, rule, table, verdict
from netdiag.rules.deadtargets import finding
from netdiag.rules.portmapcases import cases
from netdiag.rules.portmaps import stale
from netdiag.rules.shape import Example, Rule
from netdiag.rules.translations import CONSULTS, READS

RULE = Rule(
    id="cni-portmap-stale",
    title="a port mapping of CNI leads to a container that is gone",
    severity="warning",
    confidence="likely",
    reads=READS,
    consults=(*CONSULTS, "cni"),
)


def check(view: HostView) -> Iterator[Draft]:
    for one, why, count, guess in stale(view):
        yield finding(RULE, one, why, count, guess=guess)


def examples() -> Iterator[Example]:
    def host(
        *, gone: bool = False, failed: bool = False, name: str = "CNI-DN-aabb", of: str = "nat", net: str = "192.0.2"
    ) -> HostBuilder:
        built = HostBuilder().link("eth0").address("eth0", f"{net}.2/24").route("default", via=f"{net}.1", dev="eth0")
        if not gone:
            built.link("cni0", kind="bridge").address("cni0", "10.88.0.1/16")
            built.link("veth1", kind="veth", master="cni0", link_netnsid=0)
        if failed:
            built.neighbour("10.88.0.5", dev="cni0", state="failed")
        own = chain(name, rule(port(6, 8080), nat("dnat", "10.88.0.5", 80), compat=True))
        jump = chain("PREROUTING", rule(verdict("jump", name)), hook="prerouting", priority="dstnat", type="nat")
        return built.nft(table(jump, own, name=of, family="ip"))

    yield from cases()
    about: Subject = {"kind": "nft-chain", "family": "ip", "table": "nat", "chain": "CNI-DN-aabb"}
    yield Example(
        name="no answer",
        why="the container's address was asked for in vain",
        tables=host(failed=True).build(),
        fires=1,
        subject=about,
    )
    yield Example(
        name="bridge gone",
        why="the address leaves by the default route: no container can be there",
        tables=host(gone=True).build(),
        fires=1,
        subject=about,
    )
    yield Example(name="alive", why="a bridge with ports, and nothing known against it", tables=host().build())
    yield Example(
        name="no chain of CNI",
        why="nf-orphan-dnat-to-dead speaks",
        tables=host(failed=True, name="DOCKER").build(),
    )
    for name, net, fires in (("prerouting", "cni0", 1), ("prerouting", "br0", 0), ("NETAVARK-DN-1", "cni0", 0)):
        hand = HostBuilder().link(net, kind="bridge", carrier=False).address(net, "10.88.0.1/16")
        own = chain(name, rule(port(6, 8080), nat("dnat", "10.88.0.5", 80)), hook="prerouting", type="nat")
        yield Example(
            name=f"{name}, to {net}",
            why="whose network it is says who maps the port, but for those who name their chains",
            tables=hand.nft(table(own, name="nat", family="ip")).build(),
            fires=fires,
        )
    yield Example(
        name="bridge gone, behind a private uplink",
        why="a container is on its own host",
        tables=host(gone=True, net="172.16.0").build(),
        fires=1,
    )
    yield Example(
        name="the plugin's table of nftables",
        why="its chains have other names",
        tables=host(failed=True, name="tcp_8080", of="cni_hostport").build(),
        fires=1,
    )
