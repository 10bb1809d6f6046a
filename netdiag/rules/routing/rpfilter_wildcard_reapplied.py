"""What it checks
  Strict reverse path filtering (rp_filter 1) on one interface, while "all" and "default" are 0 and most interfaces of
  the same kind and name have 0; or one of them at least, where a file of sysctl.d has a pattern that sets 1.

Why it matters
  A file in sysctl.d with a wildcard (net.ipv4.conf.*.rp_filter, as distributions ship it) is applied again when an
  interface appears, or when somebody runs "sysctl --system": from then on packets whose way back leads elsewhere are
  dropped there, and nowhere else.

Confirm
  sysctl -a -r 'net.ipv4.conf.*.rp_filter'
  grep -r rp_filter /etc/sysctl.d /usr/lib/sysctl.d

Fix
  sysctl -w net.ipv4.conf.IFNAME.rp_filter=0, and overrule the wildcard by a file of the same name in /etc/sysctl.d.
  Spoofed sources are no longer stopped there by the kernel: see that a firewall does.

Not flagged
  Loose filtering (2). Interfaces without it that a file of sysctl.d names: exceptions from what holds for the others.
  One interface of two where no file tells which was meant. Hosts where "all" or "default" filters.
  Interfaces that have no like, such as an uplink that is filtered on purpose, and groups that are filtered as a whole.
  What a strict filter drops is asym-rpfilter-strict-drop's to say.

References
  systemd-sysctl.service(8), /usr/lib/sysctl.d/50-default.conf; net/ipv4/fib_frontend.c fib_validate_source()
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.link import Link
from netdiag.model.sysctl import SysctlLine
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="rpfilter-wildcard-reapplied",
    title="one interface of many filters by the reverse path",
    severity="warning",
    confidence="likely",
    reads=("links", "sysctls"),
)
ALIKE = 2


def _pattern(view: HostView) -> str | None:
    """The file whose pattern sets rp_filter of any interface to 1; the last line counts (sysctl.d(5))."""
    rows = [row for row in view.sysctls_at_boot or () if row.name == "net.ipv4.conf.*.rp_filter"]
    return rows[-1].path if rows and rows[-1].value.strip() == "1" else None


def _excepted(view: HostView, link: Link) -> bool:
    """Whether a file of sysctl.d names this very interface: what it has is an exception that somebody made."""
    names = {f"net.ipv4.conf.{link.ifname}.rp_filter", f"net/ipv4/conf/{link.ifname}/rp_filter"}
    return any(row.name in names for row in view.sysctls_at_boot or ())


def make(link: Link) -> tuple[str | None, str]:
    """Kind, and name without its number."""
    return link.kind, link.ifname.rstrip("0123456789")


def check(view: HostView) -> Iterator[Draft]:
    if any(view.sysctl_int(f"net.ipv4.conf.{which}.rp_filter") != 0 for which in ("all", "default")):
        return
    pattern = _pattern(view)
    fewest = 1 if pattern else ALIKE
    for link in view.links:
        if not link.up or link.inet_conf.get("rp_filter") != 1 or link.master is not None:
            continue
        alike = [one for one in view.links if one is not link and one.up and make(one) == make(link)]
        free = [one for one in alike if one.inet_conf.get("rp_filter") == 0 and not _excepted(view, one)]
        if link.ifname == make(link)[1] or len(free) < fewest or 2 * len(free) <= len(alike):
            continue
        path = (
            f"net/ipv4/conf/{link.ifname}/rp_filter" if "." in link.ifname else f"net.ipv4.conf.{link.ifname}.rp_filter"
        )
        yield RULE.found(
            subject=subject("link", ifname=link.ifname),
            message=f"{link.ifname} filters strictly by the reverse path (rp_filter 1), and {free[0].ifname}"
            + (f" and {len(free) - 1} more" if len(free) > 1 else "")
            + f", made like it, {'do' if len(free) > 1 else 'does'} not"
            + (f": {pattern} has a pattern that sets it" if pattern else ""),
            evidence=[
                (f"rp_filter of {link.ifname}", 1, f"RTM_GETLINK {link.ifname} IFLA_INET_CONF rp_filter"),
                ("rp_filter of all and default", 0, "/proc/sys/net/ipv4/conf/{all,default}/rp_filter"),
                ("interfaces like it without", len(free), "RTM_GETLINK IFLA_INET_CONF rp_filter"),
                *([("pattern that sets it", "net.ipv4.conf.*.rp_filter", pattern)] if pattern else []),
            ],
            confirm=[f"sysctl {quoted(path)} net.ipv4.conf.default.rp_filter"],
            fix=f"sysctl -w {quoted(path)}=0",
        )


def _host(*values: int, **more: Any) -> HostBuilder:
    host = HostBuilder()
    for number, value in enumerate(values):
        host.link(f"tap{number}", kind="tun", inet_conf={"rp_filter": value}, **more)
    return host


def _case(
    name: str, why: str, host: HostBuilder, fires: int = 0, files: tuple[SysctlLine, ...] = (), **more: Any
) -> Example:
    tables = host.build()
    tables = replace(tables, sysctls=msgspec.structs.replace(tables.sysctls, files=files))
    return Example(name=name, why=why, tables=tables, fires=fires, **more)


def examples() -> Iterator[Example]:
    about = subject("link", ifname="tap0")
    yield _case("one of three", "the plain fault", _host(1, 0, 0), 1, severity="warning", subject=about)
    yield _case("one of two", "which is right?", _host(1, 0))
    glob = SysctlLine(name="net.ipv4.conf.*.rp_filter", value="1", path="/etc/sysctl.d/50-default.conf")
    yield _case("one of two, and a pattern", "a file tells whence", _host(1, 0), 1, files=(glob,))
    loose = msgspec.structs.replace(glob, value="2")
    yield _case("one of two, and a loose pattern", "that did not set it", _host(1, 0), files=(loose,))
    yield _case("one of two, overruled", "the last line counts", _host(1, 0), files=(glob, loose))
    other = msgspec.structs.replace(glob, name="net.ipv4.conf.tap0.rp_filter")
    free = msgspec.structs.replace(glob, name="net.ipv4.conf.tap1.rp_filter", value="0")
    yield _case("one of two, and the other by its name", "that is the exception", _host(1, 0), files=(glob, free))
    yield _case("one of two, by its name", "meant for this one", _host(1, 0), files=(other,))
    yield _case("half of them", "two groups", _host(1, 1, 1, 0, 0))
    yield _case("loose", "it drops little", _host(2, 0, 0))
    yield _case("all of them", "meant", _host(1, 1, 1))
    for which in ("all", "default"):
        yield _case(f"{which} filters", "meant", _host(1, 0, 0).sysctl(f"net.ipv4.conf.{which}.rp_filter", 1))
    yield _case("two of four", "each of them is one of few", _host(1, 1, 0, 0), 2)
    down = _host(0, 0).link("tap9", kind="tun", up=False, inet_conf={"rp_filter": 1})
    yield _case("one that is down", "nothing comes in there", down)
    idle = _host(1, 0).link("tap9", kind="tun", up=False)
    yield _case("one of two, and one that is down", "that says nothing", idle)
    port = _host(0, 0).link("br0", kind="bridge").link("tap9", kind="tun", master="br0", inet_conf={"rp_filter": 1})
    yield _case("a bridge's port", "no packet is routed there", port)
    bare = _host(0, 0).link("tap", kind="tun", inet_conf={"rp_filter": 1})
    yield _case("one without a number", "made for something else", bare)
    uplink = _host(0, 0, 0).link("uplink", inet_conf={"rp_filter": 1})
    yield _case("an uplink", "nothing is like it", uplink)
