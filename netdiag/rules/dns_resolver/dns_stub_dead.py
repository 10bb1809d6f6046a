"""What it checks
  A nameserver of /etc/resolv.conf is a loopback address or one of this host's own, and no socket of this network
  namespace waits there at port 53: systemd-resolved, dnsmasq, unbound or a node-local cache that is dead, listens at
  another address or port, or lives in another namespace. Or a rule of nat leads all questions to where nobody waits. Or
  one waits there, and its program is stopped, or the host's own filter drops every question on its way over loopback.

Why it matters
  Questions to it are refused at once. Where it is the only nameserver no name can be looked up at all; a container or
  network namespace that inherits 127.0.0.53 from its host is the classic.

Confirm
  grep nameserver /etc/resolv.conf; ss -lun sport = :53

Fix
  Start the resolver (systemctl restart systemd-resolved). In a namespace of its own name a nameserver that can be
  reached from there: for ip netns, in /etc/netns/NAME/resolv.conf. A program that is stopped goes on with kill -CONT
  PID. Where the filter drops the questions, accept what goes over lo.

Not flagged
  A resolver bound to the wildcard address. Docker's 127.0.0.11, whose socket is at another port behind a redirection
  (unless there is no such rule any more). Questions that one rule of nat leads to a port of this host where somebody
  waits. Others that nftables or programs of the host's own cgroups may lead elsewhere are only told as possible (where
  these were not read, as likely). A dead one behind others that are alive and asked before it, which costs nothing:
  only told. Addresses of services on kube-proxy's interface for IPVS, which need no socket. A host that does not ask
  the DNS, or asks systemd-resolved by its socket, which waits there.

References
  resolv.conf(5), systemd-resolved.service(8), ip-netns(8)
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from netdiag.index.nftverdict import Possible
from netdiag.index.view import HostView
from netdiag.model.bpf import BpfCgroup
from netdiag.model.finding import Confidence, Draft, Severity, subject
from netdiag.model.nft import Nft, XtTable
from netdiag.model.sockets import UnixListener
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, daddr, iifname, meta, nat, plain, port, rule, table, verdict
from netdiag.rules.nameservers import (
    DNS_PORT,
    IPVS,
    VARLINK,
    alive,
    asked,
    asks_dns,
    at_docker,
    closed,
    led_to,
    own,
    redirected,
    stopped,
)
from netdiag.rules.nftplaces import chain_subject, fact, inserts, list_chain, place_words
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="dns-stub-dead",
    title="the local resolver that is asked is not there",
    severity="critical",
    reads=("resolver", "sockets", "links", "addresses", "routes"),
    consults=("nft", "bpf"),
    own_cause=True,
)


ELSEWHERE = "03000000" + "c6336435".ljust(32, "0") * 2 + "0035" * 2
"""struct nf_nat_range2: to 198.51.100.53:53."""


def check(view: HostView) -> Iterator[Draft]:
    if not asks_dns(view, looks=True):
        return
    servers = asked(view)
    shut = {address: stop for address in servers if own(view, address) and (stop := closed(view, address))}
    halted = {address: who for address in servers if own(view, address) and (who := stopped(view, address))}
    dead = [
        address
        for address in servers
        if own(view, address) and (address in shut or address in halted or not _waits(view, address))
    ]
    if not dead:
        return
    address = dead[0]
    sure: Confidence = "likely" if view.unknown("nft") or view.unknown("bpf") else "certain"
    led = led_to(view, address, DNS_PORT)
    elsewhere = led is None and redirected(view, address)
    if elsewhere:
        sure = "possible"
    severity: Severity = "info"
    consequence = "it is asked only where the others fail"
    if len(dead) == len(servers):
        severity, consequence = "critical", "no name can be looked up"
    elif servers[0] == address:
        severity, consequence = "warning", "every lookup tries it first in vain"
    if elsewhere:
        consequence = f"{consequence}, unless this host's own NAT or eBPF leads questions to somebody who answers"
    if address in shut and alive(view, address):
        yield _shut(address, shut[address], severity, consequence)
        return
    who = halted.get(address)
    again = f"kill -CONT PID  # of {who}: ss -lunp sport = :53; or restart it"
    why = f"{who}, which waits there, is stopped" if who else "in this network namespace"
    start = (
        "systemctl restart systemd-resolved  # or the resolver that should be there; in a namespace of its own: name "
    )
    start += "one that can be reached"
    confirm = ["grep nameserver /etc/resolv.conf", "ss -lun"]
    if ports := at_docker(view, address):
        why = f"for no rule of nat leads questions to port {ports[0]} any more, where Docker's resolver waits"
        start = "docker restart CONTAINER  # this one: Docker makes its rules of nat when it starts"
        confirm.append(f"nft list ruleset | grep -c {address}")
    if led is not None and not who:
        why = f"for nat leads questions to port {led[1]} of {led[0]}, where nobody waits"
    yield RULE.found(
        subject=subject("socket", netid="udp", src=address, sport=53),
        severity=severity,
        confidence=sure,
        message=f"nothing answers at nameserver {address}, port 53, {why}: {consequence}",
        evidence=[
            ("nameservers", " ".join(servers), "/etc/resolv.conf"),
            (f"state of {who}", "T (stopped)", "/proc/PID/stat")
            if who
            else ("sockets at {} port {}".format(*(led or (address, DNS_PORT))), 0, "SOCK_DIAG udp"),
            ("resolv.conf is a link to", view.resolver.target or "no link", "readlink /etc/resolv.conf"),
        ],
        confirm=confirm,
        fix=again if who else start,
    )


def _waits(view: HostView, address: str) -> bool:
    """Whether somebody waits for the questions: there, or where a rule of nat leads all of them."""
    return alive(view, *(led_to(view, address, DNS_PORT) or (address, DNS_PORT)))


def _shut(address: str, stop: Possible, severity: Severity, consequence: str) -> Draft:
    """The resolver waits there, and the host's own filter keeps the questions from it."""
    at = stop.at
    # A chain that is jumped to, of no hook of its own, may be asked on both ways.
    ways = {"output": "o", "postrouting": "o", "prerouting": "i", "input": "i"}.get(at.chain.hook or "", "io")
    return RULE.found(
        subject=subject("socket", netid="udp", src=address, sport=53),
        severity=severity,
        message=f"{place_words(at)} stops questions to nameserver {address} on this host: {consequence}",
        evidence=[fact(stop), (f"{address} port 53 waits for questions", "yes", "SOCK_DIAG udp")],
        confirm=[list_chain(at.table, at.chain), "grep nameserver /etc/resolv.conf"],
        fix=inserts(
            at.table,
            at.chain.name,
            [f"{way}ifname lo accept" for way in ways],
            [f"-{way} lo -j ACCEPT" for way in ways],
        ),
        touches=[chain_subject(at.table, at.chain)],
    )


def _docker() -> Iterator[Example]:
    """Its resolver waits at another port of 127.0.0.11, and its rules lead questions there."""
    led = rule(daddr("127.0.0.11"), port(17, 53), nat("dnat", "127.0.0.11", 41000))
    target = rule(daddr("127.0.0.11"), port(17, 53), plain("target", key="DNAT", value=ELSEWHERE), compat=True)
    rules = table(chain("out", led, hook="output", type="nat")), table(chain("out", target, hook="output", type="nat"))
    says = ("for no rule of nat leads questions to port 41000 any more, where Docker's resolver waits: no name",)
    for name, why, made, fires in (
        ("", "its rules lead there", HostBuilder().nft(rules[0]), 0),
        (" by iptables-nft", "they may lead there", HostBuilder().nft(rules[1]), 0),
        (", whose rules were flushed", "nobody waits at port 53", HostBuilder(), 1),
    ):
        made.resolver("127.0.0.11").socket(protocol=17, src="127.0.0.11", sport=41000)
        yield Example(name=f"Docker's resolver{name}", why=why, tables=made.build(), fires=fires, says=says[:fires])
    legacy = HostBuilder().resolver("127.0.0.11").socket(protocol=17, src="127.0.0.11", sport=41000).build()
    ruled = replace(legacy, nft=Nft(xtables=(XtTable(family="ip", name="nat"),)))
    yield Example(name="Docker's resolver by iptables-legacy", why="nobody knows its rules", tables=ruled)
    yield Example(name="Docker's resolver, rules not read", why="likewise", tables=legacy, late=("nft",), unjudged=True)


def examples() -> Iterator[Example]:
    def case(
        name: str, why: str, servers: tuple[str, ...], *sockets: dict[str, Any], says: str | None = None, **fields: Any
    ) -> Example:
        host = HostBuilder().link("br0").address("br0", "10.20.0.1/24").address("br0", "2001:db8:20::1/64")
        host.link(IPVS, kind="dummy").address(IPVS, "10.96.0.10/32").resolver(*servers, **fields)
        for row in sockets:
            host.socket(**({"protocol": 17, "sport": 53} | row))
        return Example(
            name=name,
            why=why,
            tables=host.build(),
            fires=0 if says is None else 1,
            severity=says,  # type: ignore[arg-type]
        )

    for name, fires, part in (
        ("redirected by nftables, to nobody", "critical", rule(port(17, 53), plain("redir"))),
        ("translated to another host", "info", rule(port(17, 53), nat("dnat", "198.51.100.53"))),
        ("by iptables-nft", "info", rule(port(17, 53), plain("target", key="DNAT", value=ELSEWHERE), compat=True)),
        ("of IPv6 redirected", "critical", rule(meta("nfproto", b"\x0a"), port(17, 53), plain("redir"))),
        ("another port redirected", "critical", rule(port(17, 5353), plain("redir"))),
        ("allowed", "critical", rule(port(17, 53), verdict("accept"))),
    ):
        ruled = HostBuilder().resolver("127.0.0.53").nft(table(chain("out", part, hook="output", type="nat")))
        sure: Any = {"severity": fires, "confidence": "certain" if fires == "critical" else "possible"}
        yield Example(name=name, why="rules may send questions elsewhere", tables=ruled.build(), fires=1, **sure)
    led = rule(daddr("127.0.0.53"), port(17, 53), nat("dnat", "127.0.0.1", 5353))
    for name, sockets, count in (
        ("where its resolver waits", (("127.0.0.1", 5353),), 0),
        ("where nobody waits", (), 1),
        ("away from who waits", (("127.0.0.53", 53),), 1),
    ):
        ruled = HostBuilder().resolver("127.0.0.53").nft(table(chain("out", led, hook="output", type="nat")))
        for src, sport in sockets:
            ruled.socket(protocol=17, src=src, sport=sport)
        words = ("nat leads questions to port 5353 of 127.0.0.1, where nobody waits: no name",) if count else ()
        yield Example(name=f"led {name}", why="as dnscrypt-proxy is", tables=ruled.build(), fires=count, says=words)
    for folder, hook, fires in (
        ("/system.slice", "cgroup_inet4_connect", "info"),
        ("/system.slice", "cgroup_udp4_sendmsg", "info"),
        ("/", "cgroup_inet4_connect", "info"),
        ("/system.slice", "cgroup_inet6_connect", "critical"),
        ("/workers.slice", "cgroup_inet4_connect", "critical"),
        ("/system.slice", "cgroup_inet_egress", "critical"),
    ):
        place = BpfCgroup(cgroup=folder, cgroup_id=9, attach_type=hook, effective=(7,))
        steered = HostBuilder().resolver("127.0.0.53").bpf(cgroups=[place])
        sure = {"severity": fires}
        name = f"{hook} of {folder}"
        yield Example(name=name, why="it may change destinations", tables=steered.build(), fires=1, **sure)
    for states, count in (("T", 1), ("S", 0), ("TS", 0)):
        held = HostBuilder().resolver("127.0.0.53")
        for state in states:
            held.socket(protocol=17, src="127.0.0.53", sport=53, comm="systemd-resolve", process=state)
        says = ("systemd-resolve, which waits there, is stopped", "kill -CONT PID") if count else ()
        name = f"it waits, its programs are in state {states}"
        yield Example(name=name, why="who is stopped reads nothing", tables=held.build(), fires=count, says=says)
    nss_cases: tuple[tuple[tuple[str, ...], str, Severity | None], ...] = (
        (("/run/systemd/private",), "sshd", "critical"),
        (("/run/systemd/private", VARLINK), "sshd", None),
        (("/run/systemd/private",), "systemd-resolve", None),
        ((), "sshd", None),
    )
    for paths, comm, severity in nss_cases:
        nss = HostBuilder().resolver("127.0.0.53", hosts=("files", "resolve", "[!UNAVAIL=return]", "dns"))
        nss.socket(src="0.0.0.0", sport=22, comm=comm)
        built = nss.build()
        rows = tuple(UnixListener(path=path, inode=50) for path in paths)
        built = replace(built, socket_owners=msgspec.structs.replace(built.socket_owners, unix=rows))
        name = f"by nss-resolve, {', '.join(paths) or 'nothing of systemd'}, {comm}"
        yield Example(
            name=name,
            why="the file counts where resolved is gone",
            tables=built,
            fires=1 if severity else 0,
            severity=severity,
        )
    for unread in ("nft", "bpf"):
        told: Any = {"fires": 1, "late": (unread,), "severity": "critical", "confidence": "likely"}
        tables = HostBuilder().resolver("127.0.0.53").build()
        yield Example(name=f"{unread} not read", why="it may send questions elsewhere", tables=tables, **told)
    stub = ("127.0.0.53",)
    yield case("nothing at the stub", "the plain fault", stub, says="critical")
    yield case("IPv6 loopback", "the same", ("::1",), says="critical")
    yield case("at another loopback address", "127.0.0.54 is not asked", stub, {"src": "127.0.0.54"}, says="critical")
    yield case("another port", "mDNS at the wildcard", stub, {"src": "0.0.0.0", "sport": 5353}, says="critical")
    yield case(
        "a connected socket",
        "a client of its own",
        stub,
        {"src": "127.0.0.53", "dst": "127.0.0.53", "dport": 9, "state": 1},
        says="critical",
    )
    yield case("TCP only", "questions go by UDP", stub, {"src": "127.0.0.53", "protocol": 6}, says="critical")
    yield case("only IPv6 wildcard, IPv6 only", "takes no IPv4", stub, {"src": "::", "v6only": 1}, says="critical")
    other = {"src": "127.0.0.53", "sport": 8125}
    yield case("another program at that address", "statsd answers no question", stub, other, says="critical")
    yield case("the bridge's address", "dnsmasq of the guests is gone", ("10.20.0.1",), says="critical")
    yield case("the bridge's IPv6 address", "the same", ("2001:db8:20::1",), {"src": "10.20.0.1"}, says="critical")
    yield case("dead, others behind it", "each lookup fails once", (*stub, "192.0.2.53"), says="warning")
    yield case("dead behind another", "asked last", ("192.0.2.53", *stub), says="info")
    yield case("two, both dead", "none is left", ("127.0.0.1", "::1"), says="critical")
    yield case("alive", "as it should be", stub, {"src": "127.0.0.53"})
    yield case("alive at the wildcard", "dnsmasq", ("127.0.0.1",), {"src": "0.0.0.0"})
    yield case("alive at the IPv6 wildcard", "takes IPv4 too", ("127.0.0.1",), {"src": "::"})
    yield case("by TCP as the file says", "use-vc", stub, {"src": "127.0.0.53", "protocol": 6}, options=("use-vc",))
    yield from _docker()
    yield case("not on this host", "who is far away has no socket here", ("192.0.2.53",))
    yield case("a fourth one dead", "only three are asked", ("192.0.2.1", "192.0.2.2", "192.0.2.3", *stub))
    yield case("the bridge's address, served", "dnsmasq of the guests", ("10.20.0.1",), {"src": "10.20.0.1"})
    yield case("a service of kube-proxy", "IPVS answers without a socket", ("10.96.0.10",))
    elsewhere = {"src": "127.0.0.11", "sport": 41000, "protocol": 6}
    yield case("Docker's resolver by TCP only", "questions go by UDP", ("127.0.0.11",), elsewhere, says="critical")
    yield case("hosts only", "nobody asks", stub, hosts=("files",))
    yield case("resolved by its socket", "the file is not asked", stub, hosts=("files", "resolve", "dns"))
    for name, hook, part, way in (
        ("closed", "input", rule(port(17, 53), verdict("drop")), "iifname"),
        ("closed on the way out", "output", rule(port(17, 53), verdict("drop")), "oifname"),
        ("closed for IPv6", "input", rule(meta("nfproto", b"\x0a"), port(17, 53), verdict("drop")), ""),
        ("closed on the card", "input", rule(iifname("br0"), port(17, 53), verdict("drop")), ""),
        ("closed for TCP", "input", rule(port(6, 53), verdict("drop")), ""),
    ):
        ruled = HostBuilder().link("br0").resolver("127.0.0.53").socket(protocol=17, sport=53, src="127.0.0.53")
        ruled.nft(table(chain("one", part, hook=hook)))
        yield Example(
            name=f"it waits, and the port is {name}",
            why="by the host's own filter",
            tables=ruled.build(),
            fires=1 if way else 0,
            severity="critical" if way else None,
            says=("stops questions", f" one {way} lo accept") if way else (),
        )
