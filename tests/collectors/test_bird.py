"""BIRD as netdiag and as ``birdc`` read it: BIRD 2 and 1.6 in lab hosts, two at once, one dead, one that is stopped."""

import os
import re
import signal
import time
from pathlib import Path
from types import ModuleType

import pytest

from netdiag.collectors import Collected, Options, bird, bird_routes, bird_sockets
from netdiag.model.bird import Bird, BirdDaemon, BirdSocket, DaemonRoutes
from netdiag.sources.live import LiveSource
from tests.lab import Host, Lab
from tests.lab.daemons import birdc

OLD = Path(__file__).parents[2] / ".cache/bird1/usr/sbin"
SIX = "/run/bird/bird6.ctl"
QUICK = "connect delay time 1; connect retry time 2;"
EDGE1 = f"""
router id 192.0.2.1;
ipv4 table spare;
ipv4 table unused;
ipv4 table far;
protocol kernel k_far {{ kernel table 78; ipv4 {{ table far; export all; }}; }}
protocol static lost {{ ipv4 {{ table far; }}; route 198.51.109.0/24 recursive 10.255.255.1; }}
protocol device {{}}
protocol direct {{ ipv4; }}
protocol kernel k4 {{ ipv4 {{ export all; import none; }}; }}
protocol kernel 'k-spare' {{ kernel table 77; ipv4 {{ table spare; export all; }}; }}
protocol kernel k6 {{ ipv6 {{ export all; }}; }}
protocol bfd 'bfd.1' {{ interface "eth*" {{ min rx interval 200 ms; min tx interval 200 ms; }}; }}
protocol pipe 'p:1' {{ table master4; peer table spare; import none; export where net ~ [198.51.100.0/24+]; }}
protocol static s4 {{ ipv4;
  route 203.0.113.7/32 blackhole; route 100.64.0.0/16 unreachable; route 100.65.0.0/16 prohibit;
  route 198.51.100.0/24 via 192.0.2.2; route 198.51.100.128/25 via 192.0.2.2 via 192.0.2.3; }}
protocol static s6 {{ ipv6; route 2001:db8:7::/48 unreachable; route 2001:db8:9::/48 via fe80::1%eth0; }}
protocol bgp 'up.a-1:x' {{ description "a: b"; local as 65001; neighbor 192.0.2.2 as 65002; bfd on; {QUICK}
  ipv4 {{ import all; export where net ~ [203.0.113.0/24+]; }}; ipv6 {{ import none; export all; }}; }}
protocol bgp up_b {{ local as 65001; neighbor 192.0.2.3 as 65003; {QUICK}
  ipv4 {{ import where net = 1.0.0.0/8; export none; import limit 5 action warn; }}; }}
protocol bgp gone {{ local as 65001; neighbor 192.0.2.9 as 65009; {QUICK} ipv4 {{ import all; export all; }}; }}
"""


def neighbour(number: int, more: str, family6: str = "") -> str:
    """Configuration of one of edge1's neighbours."""
    return f"""
router id 192.0.2.{number};
protocol device {{}}
protocol bfd {{ interface "eth*" {{ min rx interval 200 ms; min tx interval 200 ms; }}; }}
protocol static {{ ipv4; route 100.{70 + number}.0.0/16 blackhole; route 100.{80 + number}.0.0/16 blackhole; }}
protocol bgp back {{ local as {65000 + number}; neighbor 192.0.2.1 as 65001; {QUICK} {more}
  ipv4 {{ import all; export all; }}; {family6} }}
"""


OLD_CONF = f"""
router id 192.0.2.2;
table spare;
protocol device {{}}
protocol direct {{}}
protocol kernel k4 {{ import none; export all; }}
protocol kernel 'k-o' {{ table spare; kernel table 88; export all; }}
protocol pipe 'p.1' {{ table master; peer table spare; import none; export where net ~ [198.51.100.0/24+]; }}
protocol static st {{
  route 203.0.113.0/24 blackhole; route 198.51.100.0/24 via 192.0.2.1; route 198.51.102.0/24 via "eth0";
  route 198.51.101.0/24 multipath via 192.0.2.1 via 192.0.2.3; route 198.51.104.0/24 prohibit; }}
protocol bgp 'up-1.a' {{ local as 65002; neighbor 192.0.2.1 as 65001; {QUICK}
  import all; export where source = RTS_STATIC; import limit 100 action warn; }}
"""


def read(module: ModuleType, *sockets: str) -> Collected:
    """What a collector finds where this runs."""
    collected: Collected = module.collect(LiveSource(), Options(interval=0, bird_sockets=sockets))
    return collected


def daemons(host: Host) -> tuple[BirdDaemon, ...]:
    """Every daemon of a host."""
    collected = host.call(lambda: read(bird))
    assert (collected.status, collected.detail) == ("ok", "")
    table: Bird = collected.tables["bird"]
    return table.daemons


def lists(host: Host) -> dict[str, set[tuple[str, str]]]:
    """Networks and types that go to each protocol."""
    collected = host.call(lambda: read(bird_routes))
    assert (collected.status, collected.detail) == ("ok", "")
    table: tuple[DaemonRoutes, ...] = collected.tables["bird_routes"]
    return {one.protocol: {(r.net, r.type) for r in one.routes or ()} for daemon in table for one in daemon.exports}


def sockets(host: Host) -> dict[str, BirdSocket]:
    """Every control socket of a host."""
    collected = host.call(lambda: read(bird_sockets))
    return {row.path: row for row in collected.tables["bird_sockets"]}


def world(lab: Lab, old: bool = False) -> Host:
    """edge1 with two neighbours on its segment, one of them BIRD 1.6 if asked for; both sessions are up."""
    switch = lab.switch()
    hosts = [lab.host(f"edge{number}") for number in (1, 2, 3)]
    for number, host in enumerate(hosts, 1):
        lab.plug(host, "eth0", switch, [f"192.0.2.{number}/24", f"2001:db8::{number}/64"])
    if old:
        lab.birdd(hosts[1], OLD_CONF, program=str(OLD / "bird"))
    else:
        lab.birdd(hosts[1], neighbour(2, "bfd on;", "ipv6 { import all; export all; };"))
    lab.birdd(hosts[2], neighbour(3, ""))
    lab.birdd(
        hosts[0], EDGE1.replace("bfd on;", "").replace("ipv6 { import none; export all; };", "") if old else EDGE1
    )
    lab.wait(lambda: birdc(hosts[0], "show protocols").count("Established") == 2, 30, "both sessions stand")
    return hosts[0]


def rows(text: str) -> set[tuple[str, str, str]]:
    """Name, kind and state of ``show protocols``, from birdc."""
    found = [line.split() for line in text.splitlines()[2:] if line.strip()]
    return {(words[0], words[1], words[3]) for words in found}


def counted(text: str) -> list[tuple[int, ...]]:
    """The numbers of every line ``Routes:``, from birdc."""
    return [tuple(int(n) for n in re.findall(r"\d+", line)) for line in text.splitlines() if "  Routes:" in line]


def ours(daemon: BirdDaemon) -> list[tuple[int, ...]]:
    """The same from our rows."""
    channels = [channel for protocol in daemon.protocols for channel in protocol.channels]
    found = [(c.imported, c.filtered, c.exported, c.preferred) for c in channels if c.imported is not None]
    return [tuple(number for number in four if number is not None) for four in found]


def listed(text: str) -> set[str]:
    """Networks of ``show route``, from birdc."""
    return {match[0] for line in text.splitlines() if (match := re.match(r"[0-9a-f.:]+/\d+", line))}


def agree(host: Host, client: str = "birdc") -> BirdDaemon:
    """Protocols, counts, export lists and table sizes are what birdc shows; gives the daemon.

    Routes still come and go for a moment after the sessions stand, between our look and birdc's: the next look counts.
    """
    deadline = time.monotonic() + 10
    while True:
        try:
            return same(host, client)
        except AssertionError:
            if time.monotonic() > deadline:
                raise


def same(host: Host, client: str) -> BirdDaemon:
    """One look by both."""

    def told(command: str) -> str:
        return host.run(client, "-s", "/run/bird/bird.ctl", command).stdout

    (daemon,) = daemons(host)
    assert {(p.name, p.proto, p.state) for p in daemon.protocols} == rows(told("show protocols"))
    assert ours(daemon) == counted(told("show protocols all"))
    exported = lists(host)
    assert {p.name for p in daemon.protocols if p.proto in ("Kernel", "BGP") and p.state == "up"} == set(exported)
    for name, routes in exported.items():
        assert {net for net, _ in routes} == listed(told(f"show route export '{name}'")), name
    for table, networks in daemon.tables.items():
        assert f" {networks} networks" in told(f"show route table {table} count"), table
    return daemon


def test_bird_2(lab: Lab) -> None:
    host = world(lab)
    lab.wait(lambda: birdc(host, "show bfd sessions").count(" Up ") == 1, 10, "BFD stands")
    lab.wait(lambda: re.search("Import updates: +2 ", birdc(host, "show protocols all up_b")), 10, "two routes came")
    daemon = agree(host)
    assert (daemon.version, daemon.router_id, daemon.hostname) == ("2.0.12", "192.0.2.1", "edge1")
    assert set(daemon.tables) == {"master4", "master6", "spare", "unused", "far"}
    by_name = {row.name: row for row in daemon.protocols}
    first = by_name["up.a-1:x"]
    assert (first.neighbor_address, first.neighbor_as, first.local_as) == ("192.0.2.2", 65002, 65001)
    assert (first.description, first.bgp_state, first.session) == ("a: b", "Established", "external AS4")
    assert [channel.name for channel in first.channels] == ["ipv4", "ipv6"]
    second = by_name["up_b"].channels[0]
    assert (second.output_filter, second.import_limit, second.import_limit_action) == ("REJECT", 5, "warn")
    assert second.import_updates is not None
    assert (second.import_updates.received, second.import_updates.filtered) == (2, 2)
    assert by_name["gone"].bgp_state in ("Active", "Connect")
    assert by_name["p:1"].channels[0].peer_table == "spare"
    (bfd,) = daemon.bfd_sessions
    assert (bfd.protocol, bfd.address, bfd.ifname, bfd.state) == ("bfd.1", "192.0.2.2", "eth0", "Up")
    assert {(row.ifname, row.state) for row in daemon.interfaces} >= {("lo", "up"), ("eth0", "up")}
    assert any(address.startswith("192.0.2.1/") for row in daemon.interfaces for address in row.addresses)
    (routes,) = host.call(lambda: read(bird_routes)).tables["bird_routes"]
    gone = [(row.net, row.table, row.next_hop) for row in routes.unresolved or () if row.protocol == "lost"]
    assert gone == [("198.51.109.0/24", "far", "10.255.255.1")]
    exported = lists(host)
    assert {kind for _, kind in exported["k4"]} == {"unicast", "blackhole", "unreachable", "prohibit"}
    assert exported["up_b"] == set()


@pytest.mark.skipif(not OLD.exists(), reason="BIRD 1.6 was not unpacked")
def test_bird_1_6(lab: Lab) -> None:
    world(lab, old=True)
    host = lab.hosts["edge2"]
    daemon = agree(host, str(OLD / "birdc"))
    assert (daemon.version, daemon.router_id) == ("1.6.8", "192.0.2.2")
    session = next(row for row in daemon.protocols if row.proto == "BGP")
    assert (session.name, session.neighbor_address, session.neighbor_as) == ("up-1.a", "192.0.2.1", 65001)
    assert session.channels[0].import_limit == 100
    assert ("eth0", "up") in {(row.ifname, row.state) for row in daemon.interfaces}
    exported = lists(host)
    assert ("198.51.104.0/24", "prohibit") in exported["k4"]
    assert ("198.51.101.0/24", "unicast") in exported["k4"]
    assert "198.51.100.0/24" in {net for net, _ in exported["k-o"]}


def test_two_daemons_and_one_dies(lab: Lab) -> None:
    host = lab.host("edge1")
    conf = "router id 192.0.2.{};\nprotocol device {{}}\nprotocol static {} {{ {}; route {} blackhole; }}"
    lab.birdd(host, conf.format(1, "four", "ipv4", "192.0.2.0/24"))
    six = lab.birdd(host, conf.format(2, "six", "ipv6", "2001:db8::/32"), ctl=SIX)
    found = {daemon.socket: [p.name for p in daemon.protocols] for daemon in daemons(host)}
    assert found == {"/run/bird/bird.ctl": ["device1", "four"], SIX: ["device1", "six"]}
    six.kill()
    left = host.call(lambda: read(bird))
    assert [daemon.socket for daemon in left.tables["bird"].daemons] == ["/run/bird/bird.ctl"]
    state = sockets(host)
    assert (state[SIX].alive, state[SIX].hangs) == (False, False)
    assert "Connection refused" in state[SIX].detail
    assert state["/run/bird/bird.ctl"].alive
    named = host.call(lambda: read(bird_sockets, "/run/edge.ctl")).tables["bird_sockets"]
    assert {row.path: row.absent for row in named}["/run/edge.ctl"], "what --bird-socket names is told where it is not"
    assert sum(row.absent for row in named) == 1


def test_a_stopped_daemon_costs_time_and_no_more(lab: Lab) -> None:
    host = lab.host("edge1")
    daemon = lab.birdd(host, "router id 192.0.2.1;\nprotocol device {}")
    os.kill(daemon.process.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        report = host.check("--interval", "0")
        took = time.monotonic() - begun
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)
    assert took < 30
    status = {row["collector"]: row["status"] for row in report["coverage"]}
    assert (status["bird"], status["bird_routes"]) == ("timeout", "timeout")
    assert (status["links"], status["routes"]) == ("ok", "ok")
