"""What it checks
  A net.* setting has another value than this host is meant to have: [sysctl] of the intent names it, or the baseline
  had another one.

Why it matters
  A sysctl written by hand lasts until the next boot, and one from /etc/sysctl.d only reaches interfaces that exist
  when it is applied; a container runtime, a VPN client or an upgrade writes its own. Nothing says so, until traffic of
  the kind that the setting is for is dropped or takes another way.

Confirm
  sysctl NAME
  grep -rs NAME /etc/sysctl.conf /etc/sysctl.d /run/sysctl.d /usr/lib/sysctl.d

Fix
  sysctl -w NAME=VALUE, and write it into /etc/sysctl.d. net.ipv4.ip_forward sets all settings of all interfaces back
  to their defaults (RFC 1122 or 1812) when it changes: apply the others after it.

Not flagged
  White space; the intent's texts are compared word by word. Settings that netdiag could not read, which are named under
  "not evaluated". Against a baseline: settings that the kernel computes from its memory, counters, settings of
  interfaces that are gone or were made anew, the forwarding of single interfaces where the whole host's changed, and
  the IPv6 MTU of an interface that is the interface's own, which it follows.
  Without a [sysctl] section and without a baseline the rule is not evaluated.

References
  Documentation/networking/ip-sysctl.rst; net/ipv4/devinet.c inet_forward_change(); sysctl.d(5)
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.expected import since, untold
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="sysctl-expected-differs",
    title="a network setting is not what this host is meant to have",
    severity="warning",
    reads=("sysctls", "links"),
    consults=("intent.sysctl", "baseline"),
    explains=("*",),
)
FOLLOWS = ("_mem", "_count", "_buckets", "max_orphans", "max_tw_buckets", "gc_thresh", "max_size", "conntrack_max")
"""Ends of names that the kernel computes at boot, or counts."""
FORWARDING = {"net.ipv4.ip_forward": "net.ipv4.conf.", "net.ipv6.conf.all.forwarding": "net.ipv6.conf."}


def _words(value: str) -> str:
    return " ".join(value.split())


def _value(view: HostView, name: str) -> str | None:
    """The value, also of an interface with dots in its name (net/ipv4/conf/eth0.5/... as net.ipv4.conf.eth0/5....)."""
    value = view.sysctl(name)
    return value if value is not None else view.sysctl(name.replace("/", "."))


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    yield from untold(view, "sysctl")
    wanted = view.intent.sysctl or {}
    for name, want in wanted.items():
        value = _value(view, name)
        if value is None:
            yield Unjudged(reason=f"{name}: was not read, or this kernel does not have it")
        elif _words(value) != want:
            yield _draft(name, value, want, "intent [sysctl]")
    if view.baseline is not None:
        for name, before, now in _changed(view.baseline, view):
            if name not in wanted:
                yield _draft(name, now, before, since(view.baseline))


def _changed(old: HostView, new: HostView) -> Iterator[tuple[str, str, str]]:
    """Settings with what they were and are, those of interfaces of the same index and name included."""
    names = [name for name in old.sysctls if not name.endswith(FOLLOWS) and "gc_thresh" not in name]
    for link in old.links:
        now = new.stack.by_name.get(link.ifname)
        if now is not None and now.ifindex == link.ifindex and now.kind == link.kind:
            spelled = link.ifname.replace(".", "/")
            names += [f"net.ipv4.conf.{spelled}.{key}" for key in link.inet_conf]
            own = (key for key in link.inet6_conf if key != "mtu" or now.inet6_conf.get(key) != now.mtu)
            names += [f"net.ipv6.conf.{spelled}.{key}" for key in own]
    found = {}
    for name in names:
        before, after = _value(old, name), _value(new, name)
        if before is not None and after is not None and _words(before) != _words(after):
            found[name] = (name, before, after)
    for switch, prefix in FORWARDING.items():
        if switch in found:  # it sets the forwarding of every interface, and whether redirects are taken
            found = {name: row for name, row in found.items() if name == switch or not _follows(name, prefix)}
    yield from found.values()


def _follows(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and name.endswith(("forwarding", "accept_redirects"))


def _draft(name: str, value: str, want: str, source: str) -> Draft:
    value, want = _words(value), _words(want)
    path = "/proc/sys/" + name.translate(str.maketrans("./", "/."))
    return RULE.found(
        subject=subject("sysctl", name=name),
        message=f"{name} is {value or 'empty'}, and is meant to be {want or 'empty'} ({source})",
        evidence=[(name, value, path), ("meant to be", want, source)],
        confirm=[f"sysctl {quoted(name)}"],
        fix=f"sysctl -w {quoted(f'{name}={want}')}",
    )


def _host(**values: Any) -> HostBuilder:
    host = HostBuilder().link("eth0")
    for name, value in values.items():
        host.sysctl(name.replace("__", "."), value)
    return host


def _case(name: str, why: str, host: HostBuilder, told: dict[str, str] | None = None, **expected: Any) -> Example:
    return Example(name=name, why=why, tables=host.intend(sysctl=told).build(), **expected)


def examples() -> Iterator[Example]:
    forward = "net.ipv4.ip_forward"
    about = subject("sysctl", name=forward)
    yield _case("off", "the plain fault", _host(), {forward: "1"}, fires=1, subject=about, severity="warning")
    yield _case("on", "as it should be", _host(net__ipv4__ip_forward=1), {forward: "1"})
    of = "net.ipv4.conf.eth0.rp_filter"
    yield _case("of one interface", "netlink tells it", _host(net__ipv4__conf__eth0__rp_filter=1), {of: "2"}, fires=1)
    yield _case("of one interface, right", "as it should be", _host(net__ipv4__conf__eth0__rp_filter=2), {of: "2"})
    memory = "net.ipv4.tcp_rmem"
    yield _case(
        "white space",
        "/proc has tabs",
        _host(net__ipv4__tcp_rmem="4096\t87380\t6291456"),
        {memory: "4096 87380 6291456"},
    )
    yield _case("not read", "silence would be a lie", _host(), {"net.ipv4.no_such": "1"}, unjudged=True)
    yield _case("no section", "nothing was told", _host(), unjudged=True)
    yield _case("an empty section", "nothing is wanted, and that was told", _host(), {})
    old = _host(net__ipv4__ip_forward=1, net__ipv4__conf__eth0__forwarding=1).build()
    was: dict[str, Any] = {"baseline": old, "fires": 1, "subject": about}
    yield Example(name="since the baseline", why="one switch, one finding", tables=_host().build(), **was)
    grown = _host(net__ipv4__tcp_mem="1 2 3").build()
    yield Example(name="computed", why="more memory", tables=_host(net__ipv4__tcp_mem="2 3 4").build(), baseline=grown)
    anew = HostBuilder().link("eth0", ifindex=9, inet_conf={"rp_filter": 1}).build()
    yield Example(name="made anew", why="another interface of that name", tables=_host().build(), baseline=anew)
    yield from _since()


def _since() -> Iterator[Example]:
    """What a baseline shows, and what follows from what."""

    known = {"v4": "net.ipv4.ip_forward", "thresh": "net.ipv4.neigh.default.gc_thresh3"}
    known["v6"] = "net.ipv6.conf.all.forwarding"

    def host(kind: str | None = None, other: bool = False, **values: int) -> HostBuilder:
        made = HostBuilder().link("eth0.5", kind=kind)
        made = made.link("eth1") if other else made
        for name, value in values.items():
            made.sysctl(known.get(name, f"net.core.{name}"), value)
        return made

    def conf(made: HostBuilder, **values: int) -> HostBuilder:
        for name, value in values.items():
            family, _, key = name.partition("_")
            made.sysctl(f"net.{family}.conf.eth0.5.{key}", value)
        return made

    def case(name: str, why: str, now: HostBuilder, then: HostBuilder, fires: int = 0) -> Example:
        return Example(name=name, why=why, tables=now.build(), baseline=then.build(), fires=fires)

    def sized(mtu: int, own: int) -> HostBuilder:
        return HostBuilder().link("eth0", mtu=mtu, inet6_conf={"mtu": own})

    yield case("its MTU", "that of IPv6 follows", sized(9000, 9000), sized(1500, 1500))
    yield case("its MTU for IPv6", "a router, or somebody, made it smaller", sized(1500, 1280), sized(1500, 1500), 1)
    now, then = [
        HostBuilder().link("eth0", mtu=9000, inet6_conf={"mldv1_unsolicited_report_interval": number})
        for number in (9000, 10000)
    ]
    yield case("a number that is its MTU by chance", "it follows nothing", now, then, 1)
    yield case("a VLAN's setting", "its name has a dot", conf(host(), ipv4_rp_filter=1), host(), 1)
    yield case("another kind by now", "made anew", conf(host("vlan"), ipv4_rp_filter=1), host())
    yield case("an interface gone", "so are its settings", host(), host(other=True))
    yield case("limits of a table", "the kernel computes them", host(thresh=9), host(thresh=8))
    yield case("a setting gone", "another kernel", host(), host(thresh_=1))
    switched = conf(host(v4=1), ipv4_forwarding=1)
    yield case("forwarding switched on", "it sets each interface", switched, host(v4=0), 1)
    filtered = conf(host(v4=1), ipv4_forwarding=1, ipv4_rp_filter=1)
    yield case("forwarding on, and a filter", "the filter does not follow", filtered, host(v4=0), 2)
    six = conf(host(v4=1), ipv6_forwarding=1)
    yield case("forwarding on, and of IPv6", "that has a switch of its own", six, host(v4=0), 2)
    yield case("forwarding of IPv6 switched on", "the switch itself is told", host(v6=1), host(v6=0), 1)
