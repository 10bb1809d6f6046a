"""What rules about the resolver share: whether this host asks nameservers at all, which, and whether one is its own.

Pure; nothing can fail.
"""

import ipaddress
from dataclasses import replace
from typing import Any

import numpy as np

from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import HookVerdict, Possible
from netdiag.index.view import HostView
from netdiag.model.host import Forwarder
from netdiag.model.protocols import IPPROTO_TCP, IPPROTO_UDP
from netdiag.rules.sockettables import at_address, comm_of, listening, served, takes

ASKED = 3
"""Nameservers that the C library asks (MAXNS of resolv.h)."""
FALLBACK = "127.0.0.1"
"""Whom it asks where none is named (resolv.conf(5))."""
DOCKER = "127.0.0.11"
"""Docker's resolver inside a container: its socket is at another port, behind a redirection made before it started."""
DNS_PORT = 53
BROAD = {"inet": 16, "inet6": 32}
"""Prefix lengths below which a refusal is a null route for whole networks."""
IPVS = "kube-ipvs0"
"""The interface on which kube-proxy keeps the addresses of services."""
WIDE = ("", "/", "/system.slice", "/user.slice", "/init.scope")
"""Cgroups in which the host's own programs run; what is for containers or guests alone has folders of its own."""
REDIRECTS = ("dnat", "redirect")
RESOLVERS = {"systemd-resolve": "systemd-resolved"} | {
    name: name for name in ("dnsmasq", "unbound", "named", "coredns")
}
"""By /proc/PID/comm: resolvers whose files are read."""


VARLINK = "/run/systemd/resolve/io.systemd.Resolve"
"""Where systemd-resolved is asked by nss-resolve."""
SYSTEMD = ("/run/systemd/private", "/run/systemd/journal/stdout")
"""Sockets of systemd itself: where they are seen, those of its services are as well."""


def asks_dns(view: HostView, *, looks: bool = False) -> bool:
    """Whether programs here look names up in the DNS by /etc/resolv.conf, as /etc/nsswitch.conf says.

    With ``resolve`` before ``dns`` they ask systemd-resolved over its socket, whatever the file says; where it is
    gone, the file counts (nss-resolve(8): UNAVAIL). ``looks``: the rule reads or consults sockets, so that this can be
    seen.
    """
    hosts = view.resolver.hosts
    if hosts is None or "dns" not in hosts:
        return hosts is None
    return "resolve" not in hosts[: hosts.index("dns")] or (looks and resolved_gone(view))


def resolved_gone(view: HostView) -> bool:
    """Whether no systemd-resolved waits to be asked, in a namespace in which it would be seen."""
    if not view.read_whole("sockets"):
        return False
    paths = {row.path for row in view.socket_owners.unix}
    if VARLINK in paths or not paths & set(SYSTEMD):
        return False
    return not any(row.comm == "systemd-resolve" for row in view.socket_owners.owners)


def beyond(view: HostView) -> tuple[str, tuple[Forwarder, ...]] | None:
    """The resolver of this host that all questions go to, and whom it asks in turn; None: programs ask others, or whom
    it asks is not known. A resolver behind a resolver is not followed."""
    hosts, servers = view.resolver.hosts or (), asked(view)
    if asks_dns(view, looks=True):
        daemons = {waits_at(view, address) if own(view, address) else None for address in servers}
        daemon = daemons.pop() if len(daemons) == 1 else None
    else:
        daemon = "systemd-resolved" if "resolve" in hosts else None
    rows = tuple(row for row in view.resolver.forwarders if row.daemon == daemon and row.domain is None)
    return (daemon, rows) if daemon and rows and not any(own(view, row.address) for row in rows) else None


def waits_at(view: HostView, address: str) -> str | None:
    """Which resolver whose files are read waits for questions at this address; None: none of them, or nobody."""
    table = view.sockets
    rows = np.flatnonzero(listening(table, IPPROTO_UDP) & takes(table, address) & (table.sport == DNS_PORT))
    names = (comm_of(view, int(table.inode[position])) for position in rows.tolist())
    return next((RESOLVERS[name] for name in names if name in RESOLVERS), None)


def asked(view: HostView) -> tuple[str, ...]:
    """The nameservers that are asked, each once, in order."""
    return tuple(dict.fromkeys(view.resolver.nameservers))[:ASKED]


def is_loopback(address: str) -> bool:
    """127.0.0.0/8 and ::1."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def runs(view: HostView, daemon: str) -> bool:
    """Whether a resolver of this host is at work: it has a socket, or nobody else is known to wait at port 53.

    Names are also looked up over systemd-resolved's own socket, where nsswitch.conf says ``resolve``.
    """
    table = view.sockets
    programs = {RESOLVERS.get(row.comm) for row in view.socket_owners.owners}
    if daemon in programs or (daemon == "systemd-resolved" and "resolve" in (view.resolver.hosts or ())):
        return True
    waiting = np.flatnonzero(listening(table, IPPROTO_UDP) & (table.sport == DNS_PORT))
    return any(comm_of(view, int(table.inode[position])) not in RESOLVERS for position in waiting.tolist())


def protocol(view: HostView) -> int:
    """What questions are sent by: UDP, unless the file says ``use-vc``."""
    return IPPROTO_TCP if "use-vc" in view.resolver.options else IPPROTO_UDP


def alive(view: HostView, address: str, port: int = DNS_PORT) -> bool:
    """Whether something on this host answers at this address: a socket, at Docker's address one of any port, while some
    rule may lead questions to it. The rule must consult nft and bpf."""
    if served(view, address, port, protocol(view)):
        return True
    verdict = _sent(view, address, port)
    led = verdict is None or view.unknown("nft") or verdict.translations or verdict.unseen
    return bool(led) and bool(at_docker(view, address))


def at_docker(view: HostView, address: str) -> list[int]:
    """The ports at which Docker's resolver waits, where this is its address: the rules of its container lead there."""
    table = view.sockets
    mine = listening(table, IPPROTO_UDP) & at_address(table, address)
    return sorted(table.sport[mine].tolist()) if address == DOCKER else []


def stopped(view: HostView, address: str, port: int = DNS_PORT) -> str | None:
    """The program that holds what waits at this address, where it is stopped (SIGSTOP, a debugger): the kernel queues
    questions, and nobody reads them. None: some program there runs, or whose it is was not read."""
    table = view.sockets
    rows = np.flatnonzero(listening(table, protocol(view)) & takes(table, address) & (table.sport == port))
    inodes = {int(table.inode[position]) for position in rows.tolist()}
    holders = [owner for owner in view.socket_owners.owners if owner.inode in inodes]
    return holders[0].comm if holders and all(owner.state == "T" for owner in holders) else None


def own(view: HostView, address: str) -> bool:
    """Whether questions to this address stay on this host: a loopback address, or one of an interface of its own.

    Not those that kube-proxy keeps on an interface for its services: it answers there by IPVS, without a socket.
    """
    names = {view.ifname(row.ifindex) for row in view.local.owners(address.partition("%")[0])}
    return is_loopback(address) or bool(names - {IPVS})


def redirected(view: HostView, address: str, port: int = DNS_PORT) -> bool:
    """Whether questions to an address of this host may be sent elsewhere on their way: by a rule of nat that applies to
    them, or by a program that changes destinations, of a cgroup that is most of the host. The rule must consult nft and
    bpf."""
    verdict = _sent(view, address, port)
    return verdict is None or any(one.kind in REDIRECTS for one in verdict.translations)


def led_to(view: HostView, address: str, port: int) -> tuple[str, int] | None:
    """The address of this host and the port to which one rule of nat sends every such question; None: there is none,
    or nobody can tell. The rule must consult nft and bpf."""
    verdict = _sent(view, address, port)
    if verdict is None or verdict.unseen or len(verdict.translations) != 1:
        return None
    (one,) = verdict.translations
    to = ("::1" if ":" in address else "127.0.0.1") if one.kind == "redirect" else one.addr
    if not one.certain or one.kind not in REDIRECTS or to is None or not own(view, to):
        return None
    return to, one.port or port


def _sent(view: HostView, address: str, port: int) -> HookVerdict | None:
    """What the rules of nat do with a question on its way out; None: a program may send it anywhere."""
    bare = address.partition("%")[0]
    family = "inet6" if ":" in bare else "inet"
    hooks = ("inet6_connect", "udp6_sendmsg") if family == "inet6" else ("inet4_connect", "udp4_sendmsg")
    if any(c.cgroup in WIDE and c.attach_type.endswith(hooks) for c in view.bpf.cgroups):
        return None
    question = Packet(family=family, oif="lo", daddr=bare, proto=protocol(view), dport=port, daddr_type="local")
    return view.netfilter.hook("output", question)


def closed(view: HostView, address: str) -> Possible | None:
    """What of this host's own filter stops every question to an address of this host, on its way out or in by
    loopback; None where they may pass. The rule must consult nft."""
    bare = address.partition("%")[0]
    family = "inet6" if ":" in bare else "inet"
    ends: dict[str, Any] = {"family": family, "daddr": bare, "saddr": bare, "daddr_type": "local"}
    packet = Packet(**ends, proto=protocol(view), dport=DNS_PORT, oif="lo", oifindex=1)
    for hook in ("output", "postrouting", "prerouting", "input"):
        if hook == "prerouting":
            packet = replace(packet, oif="", oifindex=None, iif="lo", iifindex=1)
        verdict = view.netfilter.hook(hook, packet)
        if verdict.passes == "no":
            return verdict.blocker
        if verdict.translations:
            return None
        packet = verdict.packet
    return None
