"""What it checks
  A host that forwards IPv4 accepts ICMP redirects on an interface with neighbours.

Why it matters
  A router that believes redirects can be sent elsewhere by anybody on the link: single destinations then take a way
  that no table, no daemon and no "ip route show" knows of, until the entry ages out.

Confirm
  sysctl net.ipv4.conf.all.accept_redirects net.ipv4.conf.IFNAME.accept_redirects
  ip route show cache

Fix
  sysctl -w net.ipv4.conf.all.accept_redirects=0, then "ip route flush cache" for what was learnt. On a host that
  forwards, redirects are accepted only where both all and the interface say so.

Not flagged
  Hosts that do not forward: the kernel's default is to believe their router. Interfaces that do not forward, or of
  which one of the two settings is off. IPv6, where an interface that forwards ignores redirects whatever the setting
  says. It is an info: nothing is wrong until somebody sends one.

References
  include/linux/inetdevice.h IN_DEV_RX_REDIRECTS(); net/ipv4/devinet.c inet_forward_change(); net/ipv6/ndisc.c
  ndisc_redirect_rcv(); RFC 1812 section 5.2.7.2
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="accept-redirects-on",
    title="a router lets others change its routes by ICMP redirects",
    severity="info",
    confidence="likely",
    reads=("links", "sysctls"),
)
ALL = "net.ipv4.conf.all.accept_redirects"


def check(view: HostView) -> Iterator[Draft]:
    if view.sysctl_int("net.ipv4.ip_forward") != 1 or view.sysctl_int(ALL) != 1:
        return
    open_ = [
        link.ifname
        for link in view.links
        if link.up
        and not link.loopback
        and not link.noarp
        and link.inet_conf.get("forwarding")
        and link.inet_conf.get("accept_redirects")
    ]
    if not open_:
        return
    more = f" and {len(open_) - 1} more" if len(open_) > 1 else ""
    one = f"net.ipv4.conf.{open_[0].replace('.', '/')}.accept_redirects"
    yield RULE.found(
        subject=subject("sysctl", name=ALL),
        message=f"this host forwards, and whoever is on the link of {open_[0]}{more} can send single destinations"
        " elsewhere by ICMP redirects",
        evidence=[
            (ALL, 1, f"/proc/sys/{ALL.replace('.', '/')}"),
            (f"{open_[0]} accept_redirects", 1, f"RTM_GETLINK {open_[0]} IFLA_INET_CONF"),
        ],
        confirm=[f"sysctl {ALL} {quoted(one)}"],
        fix=f"sysctl -w {ALL}=0",
    )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, fires: int = 0, *, forward: int = 1, every: int = 1, **link: Any) -> Example:
        conf = {"forwarding": 1, "accept_redirects": 1} | link.pop("conf", {})
        host = HostBuilder().sysctl("net.ipv4.ip_forward", forward).sysctl(ALL, every)
        tables = host.link("eth0", inet_conf=conf, **link).build()
        return Example(name=name, why=why, tables=tables, fires=fires, severity="info" if fires else None)

    yield case("router that believes", "somebody set both", 1)
    yield case("all is off", "both must be on where the host forwards", every=0)
    yield case("interface is off", "the same", conf={"accept_redirects": 0})
    yield case("no router", "hosts believe their router", forward=0)
    yield case("interface does not forward", "there the kernel asks for one of the two only", conf={"forwarding": 0})
    lo = HostBuilder().sysctl("net.ipv4.ip_forward", 1).sysctl(ALL, 1).sysctl("net.ipv4.conf.lo.forwarding", 1)
    lo.sysctl("net.ipv4.conf.lo.accept_redirects", 1).link("eth0", inet_conf={"forwarding": 1, "accept_redirects": 0})
    yield Example(name="loopback alone", why="the default there, and nobody is on it", tables=lo.build())
    yield case("down", "nothing comes in", up=False)
    yield case("no neighbours", "a tunnel has no link from which a redirect could come", flags=0x81)
