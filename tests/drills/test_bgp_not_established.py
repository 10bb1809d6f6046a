"""BGP neighbours that are stopped, filtered, cut off or misnumbered, and sessions that are down on purpose."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

HEAD = """
router id {address};
protocol device {{}}
protocol kernel {{ ipv4 {{ export all; }}; }}
protocol static {{ ipv4; route 203.0.113.{number}/32 blackhole; }}
template bgp near {{
  local as {asn};
  connect delay time 1; connect retry time 2; error wait time 1, 2; hold time 3; keepalive time 1;
  ipv4 {{ import all; export all; }};
}}
"""
ADDRESSES = {"edge1": "192.0.2.1", "edge2": "192.0.2.2", "edge3": "192.0.2.3"}


def conf(name: str, *sessions: str) -> str:
    """BIRD's configuration of a host; sessions are written as below."""
    number = int(name[-1])
    return HEAD.format(address=ADDRESSES[name], number=number, asn=65000 + number) + "\n".join(sessions)


def session(name: str, peer: str, more: str = "") -> str:
    """A session with another host."""
    return f"protocol bgp {name} from near {{ neighbor {ADDRESSES[peer]} as {65000 + int(peer[-1])}; {more} }}"


def established(host: Host, count: int) -> bool:
    """So many sessions stand."""
    return host.run("birdc", "show", "protocols", check=False).stdout.count("Established") == count


def stands(host: Host, name: str) -> bool:
    """That session stands."""
    return "Established" in host.run("birdc", "show", "protocols", name, check=False).stdout


def world(lab: Lab, peers: int = 1, more: str = "") -> Host:
    """edge1, and one or two neighbours on its segment; every session is up."""
    switch = lab.switch()
    names = list(ADDRESSES)[: peers + 1]
    hosts = [lab.host(name) for name in names]
    for host in hosts:
        lab.plug(host, "eth0", switch, f"{ADDRESSES[host.name]}/24")
    for host in hosts[1:]:
        lab.birdd(host, conf(host.name, session("down1", "edge1")))
    lab.birdd(hosts[0], conf("edge1", *(session(f"up{n}", name) for n, name in enumerate(names[1:], 1)), more))
    lab.wait(lambda: established(hosts[0], peers), 20, "the sessions stand")
    return hosts[0]


def stop(lab: Lab, host: Host) -> None:
    lab.hosts["edge2"].sh("kill $(cat /run/bird/bird.pid)")


def start(lab: Lab, host: Host) -> None:
    lab.birdd(lab.hosts["edge2"], conf("edge2", session("down1", "edge1")))
    lab.wait(lambda: stands(host, "up1"), 20, "the session stands again")


def switched_off(lab: Lab) -> Host:
    """The only session is drained; one is passive, one waits for a range, and one never was on."""
    others = """
    protocol bgp waits from near { passive; neighbor 192.0.2.9 as 65009; }
    protocol bgp anyone from near { neighbor range 192.0.2.128/25 as 65010; }
    protocol bgp never from near { disabled; neighbor 192.0.2.10 as 65010; }
    """
    host = world(lab, more=others)
    host.run("birdc", "disable", "up1")
    return host


def filtered(lab: Lab, host: Host) -> None:
    lab.nft(
        lab.hosts["edge2"],
        "table inet t { chain i { type filter hook input priority 0; tcp dport 179 drop; tcp sport 179 drop; }; }",
    )


def opened(lab: Lab, host: Host) -> None:
    lab.hosts["edge2"].run("nft", "flush", "ruleset")
    lab.wait(lambda: stands(host, "up1"), 20, "the session stands again")


ABOUT = {"kind": "bgp-session", "name": "up1"}
STOPPED = Drill(
    rule="bgp-not-established",
    name="stopped",
    build=world,
    break_=stop,
    repair=start,
    severity="critical",
    expect=ABOUT,
    twin=switched_off,
)
ONE_OF_TWO = Drill(
    rule="bgp-not-established",
    name="one of two stopped",
    build=lambda lab: world(lab, 2),
    break_=stop,
    repair=start,
    severity="warning",
    expect=ABOUT,
)
FILTERED = Drill(
    rule="bgp-not-established",
    name="filtered",
    build=world,
    break_=filtered,
    repair=opened,
    severity="critical",
    expect=ABOUT,
)
test_drill = drill_test(STOPPED, ONE_OF_TWO, FILTERED)
