"""What it checks
  A resolver on this host forwards the domain consul, or one below it, to a port of this very host (127.0.0.1:8600 as a
  rule), or to one from which a rule of nat sends the questions to another port here, and no socket waits there, or the
  program that waits is stopped; or to another host, to which no question leaves (dns-nameserver-unroutable has the
  reasons). The domains of systemd-resolved's links count as well. A warning where another server of that domain is
  left; a possibility where something on this host may send the questions to another place (another rule of nat, a
  program of the host's own cgroups). Told as info: systemd-resolved with a general server beside the agent, or a
  general server elsewhere alone, while an agent waits on this host.

Why it matters
  Every lookup of NAME.service.consul fails while all other names work: services cannot find each other, although
  nothing is wrong with them. It happens when the agent is stopped, listens at another address, or its DNS is off.

Confirm
  ss -lunp sport = :8600; grep -r consul /etc/dnsmasq.d /etc/systemd/resolved.conf.d

Fix
  Start the agent (systemctl restart consul), or bring its ports.dns and client_addr together with the forwarder. Where
  systemd-resolved has general servers beside the agent, name them for the uplink (DNS= of its network, resolvectl dns).

Not flagged
  A forwarder to another host that can be sent to. Other domains. A host on which nothing forwards consul. Files of a
  resolver that does not run here, left from before: only told.

References
  Consul: DNS forwarding; dnsmasq(8) --server; resolved.conf(5) Domains=
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.host import Forwarder
from netdiag.model.protocols import IPPROTO_UDP
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, daddr, nat, port, rule, table
from netdiag.rules.dns_resolver.dns_nameserver_unroutable import Trouble, trouble
from netdiag.rules.nameservers import DNS_PORT, is_loopback, led_to, redirected, runs, stopped
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.sockettables import endpoint, listening, served

AGENT_PORT = 8600
"""Where Consul's agent answers DNS, unless ports.dns says else."""
NAT = "nft list ruleset | grep -iE 'redirect|dnat'"
WAYS = ("links", "rules", "nexthops", "neighbours", "sysctls")

RULE = Rule(
    id="dns-consul-forward-broken",
    title="the domain consul is forwarded to nobody",
    severity="critical",
    reads=("resolver", "sockets", "addresses", "routes"),
    consults=("nft", "bpf", *WAYS, "wireguard"),
)


def check(view: HostView) -> Iterator[Draft]:
    forwarders = [row for row in view.resolver.forwarders if of_consul(row)]
    dead = [row for row in forwarders if here(view, row) and _unanswered(view, *ends_at(view, row)) is not None]
    away = [(row, found) for row in forwarders if (found := _cut(view, row)) is not None]
    for row, found in away:
        rest, place = len(forwarders) - len(dead) - len(away), endpoint(row.address, row.port)
        yield RULE.found(
            subject=subject("prefix", prefix=row.address),
            severity="info" if not runs(view, row.daemon) else "warning" if rest else "critical",
            message=f"{row.daemon} forwards the domain consul to {place}, and questions do not leave this host: "
            f"{found.reason}",
            evidence=[
                (f"{row.daemon} forwards consul to", place, row.source),
                ("what becomes of a question", found.reason, f"RTM_GETROUTE dst {row.address}, RTM_GETNEIGH"),
            ],
            confirm=[f"ip route get {quoted(row.address)}", f"grep -n consul {quoted(row.source)}"],
            fix=found.fix,
            touches=found.touches,
        )
    if not dead and not away and (draft := _mixed(view, forwarders) or _passed_by(view, forwarders)) is not None:
        yield draft
    for row in dead:
        place, end = endpoint(row.address, row.port), ends_at(view, row)
        sent = end != (row.address, row.port)
        where = f"{place}, which nat sends to {endpoint(*end)}" if sent else place
        who = _unanswered(view, *end)
        why = f"where {who}, which waits there, is stopped" if who else "where nothing listens"
        rest, idle = len(forwarders) - len(dead) - len(away), not runs(view, row.daemon)
        consequence = "cannot be looked up"
        if idle:
            consequence = f"could not be looked up if {row.daemon} ran"
        elif rest:
            consequence = "fail now and then"
        yield RULE.found(
            subject=subject("socket", netid="udp", src=end[0], sport=end[1]),
            severity="info" if idle else "warning" if rest else "critical",
            confidence="possible" if not sent and redirected(view, row.address, row.port) else "certain",
            message=f"{row.daemon} forwards the domain consul to {where}, {why}: names below .consul " + consequence,
            evidence=[
                (f"{row.daemon} forwards consul to", place, row.source),
                (f"state of {who}", "T (stopped)", "/proc/PID/stat")
                if who
                else (f"sockets at {endpoint(*end)}", 0, "SOCK_DIAG udp"),
            ],
            confirm=["ss -lunp", f"grep -n consul {quoted(row.source)}", *([NAT] if sent else [])],
            fix=f"kill -CONT PID  # of {who}: ss -lunp sport = :{end[1]}; or restart it"
            if who
            else "systemctl restart consul  # or let the forwarder and the agent's ports.dns and client_addr agree",
        )


def _mixed(view: HostView, forwarders: list[Forwarder]) -> Draft | None:
    """systemd-resolved holds its servers for alike, and stays with the one that answered last: the agent of this host
    and another, which may not know the domain."""
    mine = [row for row in forwarders if row.daemon == "systemd-resolved" and runs(view, row.daemon)]
    agent = next((row for row in mine if here(view, row) and row.port != DNS_PORT), None)
    other = next((row for row in mine if not here(view, row) and row.port == DNS_PORT), None)
    if agent is None or other is None:
        return None
    place, second = endpoint(agent.address, agent.port), endpoint(other.address, other.port)
    return RULE.found(
        subject=subject("socket", netid="udp", src=agent.address, sport=agent.port),
        severity="info",
        confidence="possible",
        message=f"systemd-resolved asks {place} and {second} alike for the domain consul, and stays with the one that"
        " answered: if the other does not know the domain, its names are not found then",
        evidence=[
            ("servers of the domain consul", place, agent.source),
            ("servers of the domain consul", second, other.source),
        ],
        confirm=["resolvectl status", f"grep -n DNS {quoted(agent.source)}"],
        fix=f"resolvectl dns UPLINK {other.address}  # and take it out of {quoted(other.source)}: a link's servers"
        " are not asked for consul",
    )


def _passed_by(view: HostView, forwarders: list[Forwarder]) -> Draft | None:
    """Every question goes to a general server elsewhere, though an agent waits on this host."""
    asked = [row for row in forwarders if runs(view, row.daemon)]
    table = view.sockets
    agents = np.flatnonzero(listening(table, IPPROTO_UDP) & (table.sport == AGENT_PORT))
    if not asked or not len(agents) or any(here(view, row) or row.port != DNS_PORT for row in asked):
        return None
    row, agent = asked[0], table.row(int(agents[0]))
    place = endpoint(row.address, row.port)
    return RULE.found(
        subject=subject("socket", netid="udp", src=agent.src, sport=AGENT_PORT),
        severity="info",
        confidence="possible",
        message=f"{row.daemon} asks {place} for the domain consul, and not the agent of this host at port {AGENT_PORT}:"
        " if that server does not know the domain, its names are not found",
        evidence=[
            (f"{row.daemon} forwards consul to", place, row.source),
            (f"sockets at port {AGENT_PORT}", len(agents), "SOCK_DIAG udp"),
        ],
        confirm=["ss -lunp", f"grep -n DNS {quoted(row.source)}"],
        fix=f"name the agent (127.0.0.1, port {AGENT_PORT}) in {quoted(row.source)}, then restart {row.daemon}",
    )


def _unanswered(view: HostView, address: str, port: int) -> str | None:
    """Whether nobody reads what comes to a port of this host: the program that is stopped, empty where nothing listens;
    None: somebody does."""
    return stopped(view, address, port) if served(view, address, port) else ""


def ends_at(view: HostView, row: Forwarder) -> tuple[str, int]:
    """Where a question arrives: at the place that the file names, or at the one to which nat sends all of them."""
    return led_to(view, row.address, row.port) or (row.address, row.port)


def _cut(view: HostView, row: Forwarder) -> Trouble | None:
    """Why a question to a server on another host does not leave this one."""
    if here(view, row) or not all(view.read_whole(table) for table in WAYS):
        return None
    found = trouble(view, row.address)
    return found if found is not None and found.note is None else None


def of_consul(row: Forwarder) -> bool:
    """Whether the domain is consul, or below it (service.consul)."""
    return (row.domain or "").strip(".").lower().rpartition(".")[2] == "consul"


def here(view: HostView, row: Forwarder) -> bool:
    """Whether the address is this host's own."""
    address = row.address.partition("%")[0]
    return is_loopback(address) or view.local.is_local("inet6" if ":" in address else "inet", address)


def examples() -> Iterator[Example]:
    def case(
        name: str,
        why: str,
        says: Any,
        *places: tuple[str, int, str | None],
        sockets: tuple[tuple[str, int], ...] = (),
        daemon: str = "dnsmasq",
        runs: str | None = "dnsmasq",
        hosts: tuple[str, ...] | None = None,
        words: str = "",
        cut: str = "",
        sent: str = "",
        count: int = 1,
    ) -> Example:
        forwarders = tuple(
            Forwarder(daemon=daemon, address=address, port=number, domain=domain, source="/etc/dnsmasq.d/10-consul")
            for address, number, domain in places
        )
        host = HostBuilder().link("eth0").address("eth0", "192.0.2.1/24")
        host.resolver("127.0.0.1", forwarders=forwarders, hosts=hosts)
        if cut:
            host.route(f"{cut}/32", type="blackhole")
        if sent:
            to = rule(daddr("127.0.0.1"), port(17, 53), nat("dnat", sent, 8600))
            host.nft(table(chain("out", to, hook="output", priority="dstnat", type="nat"), name="nat", family="ip"))
        if runs is not None:
            host.socket(protocol=17, src="127.0.0.1", sport=53, comm=runs)
        for src, number in sockets:
            host.socket(protocol=17, src=src, sport=number)
        sure: Any = {"fires": count, "severity": says, "confidence": "certain", "says": (words,)} if says else {}
        return Example(name=name, why=why, tables=host.build(), **sure)

    local, remote = ("127.0.0.1", 8600, "consul"), ("198.51.100.1", 8600, "consul")
    yield case("nothing at 8600", "the plain fault", "critical", local, words="cannot be looked up")
    yield case("by the host's own address", "the same", "critical", ("192.0.2.1", 8600, "consul"))
    yield case("by another loopback address", "the same", "critical", ("127.0.0.9", 8600, "consul"))
    yield case("the agent at another address", "client_addr", "critical", local, sockets=(("192.0.2.1", 8600),))
    yield case("the agent at another port", "ports.dns", "critical", local, sockets=(("127.0.0.1", 8601),))
    yield case("another server besides", "it answers now and then", "warning", local, remote, words="fail now and then")
    yield case("dnsmasq does not run", "its file was left", "info", local, runs=None, words="if dnsmasq ran")
    by_socket = ("resolve",)
    yield case("names by resolved's socket", "dnsmasq is not asked", "info", local, runs=None, hosts=by_socket)
    yield case("another resolver runs", "dnsmasq's file was left", "info", local, runs="systemd-resolve")
    yield case("an unknown program at port 53", "who it is was not read", "critical", local, runs="python3")
    mdns = (("0.0.0.0", 5353),)
    yield case("another port is no resolver's", "mDNS alone", "info", local, runs=None, sockets=mdns)
    idle: dict[str, Any] = {"daemon": "systemd-resolved", "runs": None}
    yield case("resolved by its own socket", "nsswitch says so", "critical", local, hosts=("resolve",), **idle)
    yield case("resolved, not asked", "its file was left", "info", local, hosts=("files", "dns"), **idle)
    yield case("the agent listens", "as it should be", None, local, sockets=(("127.0.0.1", 8600),))
    yield case("the agent at the wildcard", "as it should be", None, local, sockets=(("0.0.0.0", 8600),))
    to53, agent = ("127.0.0.1", 53, "consul"), (("127.0.0.1", 8600),)
    led: dict[str, Any] = {"daemon": "systemd-resolved", "runs": None, "hosts": ("resolve",), "sent": "127.0.0.1"}
    words = "to 127.0.0.1:53, which nat sends to 127.0.0.1:8600, where nothing listens"
    yield case(
        "by nat to the agent's port, where nobody is", "the agent was stopped", "critical", to53, words=words, **led
    )
    yield case("by nat to the agent", "as Consul's pages say for old resolveds", None, to53, sockets=agent, **led)
    led["sent"] = "198.51.100.9"
    yield Example(
        name="by nat to another host",
        why="what is there nobody sees",
        tables=case("", "", None, to53, **led).tables,
        fires=1,
        confidence="possible",
    )
    halted = HostBuilder().resolver("127.0.0.1", forwarders=(
        Forwarder(daemon="dnsmasq", address="127.0.0.1", port=8600, domain="consul", source="/etc/dnsmasq.d/10-consul"),
    )).socket(protocol=17, src="127.0.0.1", sport=53, comm="dnsmasq")  # fmt: skip
    for state in ("T", "S"):
        halted.socket(protocol=17, src="127.0.0.1", sport=8600, comm="consul", process=state)
        yield Example(
            name=f"the agents' last is in state {state}",
            why="who is stopped reads nothing",
            tables=halted.build(),
            fires=1 if state == "T" else 0,
            says=("where consul, which waits there, is stopped", "kill -CONT PID") if state == "T" else (),
        )
    yield case("a server elsewhere", "not to be seen from here", None, remote)
    gone = "questions do not leave this host: the blackhole route 198.51.100.1/32"
    yield case(
        "a server elsewhere, to which no way leads",
        "nobody is asked",
        "critical",
        remote,
        cut="198.51.100.1",
        words=gone,
    )
    two = (remote, ("198.51.100.2", 8600, "consul"))
    yield case("one of two elsewhere", "the other one answers", "warning", *two, cut="198.51.100.1", words=gone)
    yield case(
        "one here, which is dead, and one elsewhere, cut off",
        "none is left",
        "critical",
        local,
        remote,
        count=2,
        cut="198.51.100.1",
    )
    mixed: dict[str, Any] = {"daemon": "systemd-resolved", "runs": None, "sockets": (("127.0.0.1", 8600),)}
    general = ("198.51.100.1", 53, "consul")
    alike = case("", "", None, local, general, hosts=("resolve",), **mixed).tables
    words = "asks 127.0.0.1:8600 and 198.51.100.1:53 alike"
    yield Example(
        name="resolved, and a general server beside the agent",
        why="it settles on one of them",
        tables=alike,
        fires=1,
        severity="info",
        says=(words,),
    )
    passed = "dnsmasq asks 198.51.100.1:53 for the domain consul, and not the agent of this host"
    for name, place, sockets, fires in (
        ("a general server, and an agent here", general, (("127.0.0.1", 8600),), 1),
        ("a general server, and an agent at another address", general, (("192.0.2.1", 8600),), 1),
        ("a general server, and no agent", general, (), 0),
        ("an agent elsewhere, and one here", remote, (("127.0.0.1", 8600),), 0),
    ):
        tables = case("", "", None, place, sockets=sockets).tables
        told: dict[str, Any] = {"severity": "info", "says": (passed,)} if fires else {}
        yield Example(name=name, why="who knows the domain?", tables=tables, fires=fires, **told)
    left = case("", "", None, general, sockets=(("127.0.0.1", 8600),), runs=None).tables
    yield Example(name="a general server, by a file that was left", why="nobody asks", tables=left)
    both = (local, ("198.51.100.1", 8600, "consul"))
    yield case("resolved, and another agent beside it", "both know", None, *both, hosts=("resolve",), **mixed)
    yield case("resolved does not run", "nobody asks", None, local, general, **mixed)
    yield case("dnsmasq, and another server", "it asks both", None, local, general, sockets=(("127.0.0.1", 8600),))
    yield case("a domain below it", "the same", "critical", ("127.0.0.1", 8600, "service.consul."))
    yield case("a name that ends alike", "not consul's", None, ("127.0.0.1", 8600, "myconsul"))
    yield case("another domain", "not consul's", None, ("127.0.0.1", 8600, "lan"))
    yield case("nothing forwards it", "a host without consul", None, ("127.0.0.1", 5353, None))
