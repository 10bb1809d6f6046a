"""What it checks
  A network setting is another one now than /etc/sysctl.d (or /run/sysctl.d) sets at boot; of several files the last one
  counts, as sysctl.d(5) says.

Why it matters
  Either somebody changed it by hand, and the next boot takes that back; or the file never took effect, because the
  module or the interface was not there yet when it was read (nf_conntrack, bridge). Both are found out at the worst
  moment.

Confirm
  sysctl NAME
  grep -r NAME /etc/sysctl.d

Fix
  sysctl -w NAME=VALUE as the file says, or change the file to what is meant. For a setting whose module comes late:
  load it at boot by /etc/modules-load.d.

Not flagged
  Files of the distribution (/usr/lib/sysctl.d). Settings that daemons own: forwarding that is on though a file says off
  (Docker, libvirt, tailscale), settings of single interfaces (networkd, NetworkManager, CNI), connection tracking and
  bridge settings on Kubernetes nodes. Settings of "all" and "default" that firewalls and CNIs set as well (rp_filter,
  redirects) are an info. Names with a pattern. What the intent says of: see sysctl-expected-differs. Settings that this
  kernel does not have. Namespaces for which the files are not meant.

References
  sysctl.d(5), systemd-sysctl.service(8); net/ipv4/devinet.c inet_forward_change()
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.host import Manager
from netdiag.model.sysctl import SysctlLine, Sysctls
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="sysctl-drift-vs-file",
    title="a network setting is not what the files of this host set at boot",
    severity="warning",
    reads=("links", "sysctls"),
    consults=("intent.sysctl", "identity"),
    machine_wide=True,
)
ADMIN = ("/etc/", "/run/")
OF_UBUNTU = ("10-bufferbloat.conf", "10-ipv6-privacy.conf", "10-network-security.conf")
"""Files with settings of net.* that come with the package procps of Ubuntu."""
WIDE = ("all", "default")
OWNED_BY_NODES = ("net.netfilter.", "net.bridge.")
ROUNDED = ("nf_conntrack_buckets",)
"""Settings that the kernel rounds up."""


def _words(value: str) -> str:
    return " ".join(value.split())


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    files = view.sysctls_at_boot
    if files is None:
        yield Unjudged(reason="sysctl.d: could not be read, or is not meant for this network namespace")
        return
    wanted = {row.name: row for row in files}
    nodes = any(row.name.startswith("kubernetes") for row in view.identity.managers)
    told = view.intent.sysctl or {}
    for name, row in wanted.items():
        value = view.sysctl(name)
        meant = row.path.startswith(ADMIN) and not row.path.endswith(OF_UBUNTU)
        if value is None or name in told or not meant or _owned(name, row.value, value, nodes):
            continue
        if _words(value) != _words(row.value):
            yield _draft(row, _words(value))


def _number(text: str) -> int:
    """The number that a text is; 0 for another text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _owned(name: str, want: str, value: str, nodes: bool) -> bool:
    """Whether somebody else than an administrator may have changed it."""
    parts = name.split(".")
    single = len(parts) > 4 and parts[2] in ("conf", "neigh") and parts[3] not in WIDE
    forwarding = parts[-1] in ("forwarding", "ip_forward") and _words(want) == "0"
    rounded = parts[-1] in ROUNDED and _number(value) >= _number(want) > 0
    return single or forwarding or rounded or (nodes and name.startswith(OWNED_BY_NODES))


def _draft(row: SysctlLine, value: str) -> Draft:
    want = _words(row.value)
    shared = row.name.split(".")[2:3] == ["conf"] and not row.name.endswith("forwarding")
    return RULE.found(
        subject=subject("sysctl", name=row.name),
        message=f"{row.name} is {value or 'empty'}, and {row.path} sets it to {want or 'empty'} at boot",
        severity="info" if shared else "warning",
        evidence=[
            (row.name, value, "/proc/sys/" + row.name.translate(str.maketrans("./", "/."))),
            ("at boot", want, row.path),
        ],
        confirm=[f"sysctl {quoted(row.name)}", f"cat {quoted(row.path)}"],
        fix=f"sysctl -w {quoted(f'{row.name}={want}')}",
    )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, *lines: str, fires: int = 0, **more: Any) -> Example:
        rows = []
        for line in lines:
            path, _, rest = line.partition(":")
            key, _, value = rest.partition("=")
            rows.append(SysctlLine(name=key, value=value, path=path))
        now = {"net.ipv4.ip_forward": "0", "net.ipv4.tcp_mtu_probing": "1", "net.ipv4.tcp_rmem": "4096\t9\t10"}
        now |= {"net.netfilter.nf_conntrack_max": "65536", "net.netfilter.nf_conntrack_buckets": "65536"}
        host = HostBuilder().link("eth0").identity(managers=more.pop("managers", ()))
        host.intend(sysctl=more.pop("told", None))
        files = None if more.get("unjudged") else tuple(rows)
        tables = replace(host.build(), sysctls=Sysctls(values=now | more.pop("now", {}), files=files))
        return Example(
            name=name, why=why, tables=tables, fires=fires, **({"severity": "warning" if fires else None} | more)
        )

    own = "/etc/sysctl.d/50-net.conf:"
    yield case("another value", "the plain fault", own + "net.ipv4.tcp_mtu_probing=2", fires=1)
    yield case("the same", "as it should be", own + "net.ipv4.tcp_mtu_probing=1")
    yield case("white space", "/proc has tabs", own + "net.ipv4.tcp_rmem=4096 9  10")
    last = "/etc/sysctl.d/90-more.conf:net.ipv4.tcp_mtu_probing=1"
    yield case("the last one counts", "two files", own + "net.ipv4.tcp_mtu_probing=2", last)
    yield case("forwarding off", "the file says on", own + "net.ipv4.ip_forward=1", fires=1)
    on = {"net.ipv4.ip_forward": "1"}
    yield case("forwarding on", "Docker switches it on", own + "net.ipv4.ip_forward=0", now=on)
    yield case("too late", "the module came after it", own + "net.netfilter.nf_conntrack_max=1000000", fires=1)
    kubelet = (Manager(name="kubernetes", evidence="process kubelet"),)
    yield case("kube-proxy", "it owns that", own + "net.netfilter.nf_conntrack_max=1000000", managers=kubelet)
    yield case("rounded", "the kernel takes a power of two", own + "net.netfilter.nf_conntrack_buckets=60000")
    yield case("cut down", "no rounding", own + "net.netfilter.nf_conntrack_buckets=90000", fires=1)
    filters = {"net.ipv4.conf.all.rp_filter": "2"}
    strict = own + "net.ipv4.conf.all.rp_filter=1"
    yield case("reverse path filter", "a firewall or CNI sets it too", strict, now=filters, fires=1, severity="info")
    yield case("one interface", "networkd owns it", own + "net.ipv4.conf.eth0.forwarding=1")
    yield case("of the distribution", "not this host's wish", "/usr/lib/sysctl.d/50.conf:net.ipv4.tcp_mtu_probing=2")
    ubuntu = "/etc/sysctl.d/10-network-security.conf:net.ipv4.tcp_mtu_probing=2"
    yield case("of Ubuntu", "every container from its image has the file", ubuntu)
    told = {"net.ipv4.tcp_mtu_probing": "1"}
    yield case("the intent", "it has the last word", own + "net.ipv4.tcp_mtu_probing=2", told=told)
    yield case("not there", "another kernel", own + "net.ipv4.no_such=2")
    yield case("pattern", "which interfaces were meant is not known", own + "net.ipv4.conf.*.forwarding=1")
    yield case("not for this namespace", "the machine's files", unjudged=True)
    all_ = {"net.ipv4.conf.all.forwarding": "0"}
    yield case("forwarding of all", "one switch, one owner", own + "net.ipv4.conf.all.forwarding=1", now=all_, fires=1)
    four = {"net.ipv4.neigh.lo": "1", "net.ipv4.tcp.x.y": "1", "net.ipv4.neigh.default.gc_thresh3": "1024"}
    yield case("four words", "no interface is named", own + "net.ipv4.neigh.lo=2", now=four, fires=1)
    yield case("five words", "of no interface", own + "net.ipv4.tcp.x.y=2", now=four, fires=1)
    wide = own + "net.ipv4.neigh.default.gc_thresh3=4096"
    yield case("for all interfaces", "the table's", wide, now=four, fires=1)
    off = own + "net.ipv4.tcp_mtu_probing=0"
    yield case("off by the file", "forwarding alone is switched on by others", off, fires=1)
    tcp = own + "net.ipv4.tcp_mtu_probing=2"
    yield case("another of kube-proxy's host", "it owns conntrack", tcp, managers=kubelet, fires=1)
    name = "net.netfilter.nf_conntrack_buckets"
    yield case("just as told", "with other white space", own + name + "=65536", now={name: " 65536 "})
    for text in ("", "many", "\u0665\u0665", "1" * 20, "0"):
        why = "no number, or none that is rounded"
        yield case(f"rounded up from {text or 'nothing'}", why, own + f"{name}={text}", fires=1)
    long = {name: "1" + "0" * 18}
    yield case("nineteen digits", "the longest that is a number", own + f"{name}={'9' * 18}", now=long)
    yield case("rounded up from 1", "the smallest table", own + f"{name}=1")
    huge = {name: "9" * 20}
    yield case("twenty digits", "no number of the kernel", own + f"{name}={'1' * 20}", now=huge, fires=1)
