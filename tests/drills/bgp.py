"""A small world for drills about BGP: edge1 with one or two neighbours on one segment, all of them real BIRD.

Timers are short, so that sessions come and go within a second or two.
"""

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
        host.ip(f"address add 203.0.113.{host.name[-1]}/32 dev lo")
    for host in hosts[1:]:
        lab.birdd(host, conf(host.name, session("down1", "edge1")))
    lab.birdd(hosts[0], conf("edge1", *(session(f"up{n}", name) for n, name in enumerate(names[1:], 1)), more))
    lab.wait(lambda: established(hosts[0], peers), 20, "the sessions stand")
    return hosts[0]


def reconfigured(host: Host, text: str) -> None:
    """Give BIRD another configuration."""
    host.write("/etc/bird/bird.conf", text)
    told = host.run("birdc", "configure").stdout
    assert "Reconfigur" in told, told
