"""What rules about the resolver share: whether this host asks nameservers at all, which, and whether one is its own.

Pure; nothing can fail.
"""

import ipaddress

from netdiag.index.view import HostView
from netdiag.model.nft import NftRule
from netdiag.model.sockets import IPPROTO_TCP, IPPROTO_UDP
from netdiag.rules.sockettables import at_address, listening, served

ASKED = 3
"""Nameservers that the C library asks (MAXNS of resolv.h)."""
FALLBACK = "127.0.0.1"
"""Whom it asks where none is named (resolv.conf(5))."""
DNS_PORT = 53
REDIRECTS = ("redir", "nat", "tproxy")


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


def protocol(view: HostView) -> int:
    """What questions are sent by: UDP, unless the file says ``use-vc``."""
    return IPPROTO_TCP if "use-vc" in view.resolver.options else IPPROTO_UDP


def alive(view: HostView, address: str, port: int = DNS_PORT) -> bool:
    """Whether something on this host answers at this address: a socket, or, where there is none at the port itself,
    any socket at the same loopback address, because Docker's resolver (127.0.0.11) sits behind a redirection."""
    if served(view, address, port, protocol(view)):
        return True
    table = view.sockets
    return bool((listening(table, IPPROTO_UDP) & at_address(table, address)).any())


def _redirects(rule: NftRule) -> bool:
    names = {expression.name for expression in rule.expressions}
    return bool(names & set(REDIRECTS)) or rule.compat


def redirected(view: HostView) -> bool:
    """Whether questions may be sent elsewhere on their way: a redirection of port 53 by nftables, or a program of a
    cgroup that changes destinations. The rule must consult nft and bpf."""
    if any("connect" in c.attach_type or "sendmsg" in c.attach_type for c in view.bpf.cgroups):
        return True
    rules = [rule for table in view.nft.tables for chain in table.chains for rule in chain.rules]
    return any(_redirects(rule) and any(e.value == "0035" for e in rule.expressions) for rule in rules)
