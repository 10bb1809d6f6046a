"""What rules about the resolver share: whether this host asks nameservers at all, which, and whether one is its own.

Pure; nothing can fail.
"""

import ipaddress
from dataclasses import replace
from typing import Any

import numpy as np

from netdiag.index.nftpacket import Packet
from netdiag.index.nftverdict import Possible
from netdiag.index.view import HostView
from netdiag.model.protocols import IPPROTO_TCP, IPPROTO_UDP
from netdiag.rules.sockettables import at_address, comm_of, listening, served

ASKED = 3
"""Nameservers that the C library asks (MAXNS of resolv.h)."""
FALLBACK = "127.0.0.1"
"""Whom it asks where none is named (resolv.conf(5))."""
DOCKER = "127.0.0.11"
"""Docker's resolver inside a container: its socket is at another port, behind a redirection made before it started."""
DNS_PORT = 53
IPVS = "kube-ipvs0"
"""The interface on which kube-proxy keeps the addresses of services."""
REDIRECTS = ("dnat", "redirect")
RESOLVERS = {"systemd-resolve": "systemd-resolved", "dnsmasq": "dnsmasq", "unbound": "unbound"}
"""By /proc/PID/comm: resolvers whose files are read."""


def asks_dns(view: HostView) -> bool:
    """Whether programs here look names up in the DNS by /etc/resolv.conf, as /etc/nsswitch.conf says.

    With ``resolve`` before ``dns`` they ask systemd-resolved over its socket, whatever the file says.
    """
    hosts = view.resolver.hosts
    if hosts is None or "dns" not in hosts:
        return hosts is None
    return "resolve" not in hosts[: hosts.index("dns")]


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
    """Whether something on this host answers at this address: a socket, at Docker's address one of any port."""
    if served(view, address, port, protocol(view)):
        return True
    table = view.sockets
    return address == DOCKER and bool((listening(table, IPPROTO_UDP) & at_address(table, address)).any())


def own(view: HostView, address: str) -> bool:
    """Whether questions to this address stay on this host: a loopback address, or one of an interface of its own.

    Not those that kube-proxy keeps on an interface for its services: it answers there by IPVS, without a socket.
    """
    names = {view.ifname(row.ifindex) for row in view.local.owners(address.partition("%")[0])}
    return is_loopback(address) or bool(names - {IPVS})


def redirected(view: HostView, address: str, port: int = DNS_PORT) -> bool:
    """Whether questions to an address of this host may be sent elsewhere on their way: by a rule of nat that applies to
    them, or by a program of a cgroup that changes destinations. The rule must consult nft and bpf."""
    if any("connect" in c.attach_type or "sendmsg" in c.attach_type for c in view.bpf.cgroups):
        return True
    bare = address.partition("%")[0]
    family = "inet6" if ":" in bare else "inet"
    question = Packet(family=family, oif="lo", daddr=bare, proto=protocol(view), dport=port, daddr_type="local")
    verdict = view.netfilter.hook("output", question)
    return any(one.kind in REDIRECTS for one in verdict.translations)


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
