"""What it checks
  An XDP program on an interface that is up returns nothing but "drop" or "aborted": from its instructions, no packet
  gets past it.

Why it matters
  Nothing arrives on that interface, and nothing shows it: the packets are gone before tcpdump, before every firewall
  rule and before most counters (drivers count them apart, some not at all). What leaves still leaves.

Confirm
  ip link show dev IFNAME
  bpftool prog dump xlated id PROGRAM
  ethtool -S IFNAME | grep -i xdp

Fix
  ip link set dev IFNAME xdp off (xdpgeneric off, or bpftool link detach id LINK) lets everything in at once, without
  any filter; some cards lose the link for a second. Or start the agent that should put the right program there.

Not flagged
  Programs that let anything by, or of which the verdict is computed: designed drops of attack traffic look like that.
  Interfaces that are down. A program that drops everything on purpose looks exactly like the fault: suppress it.

References
  net/core/dev.c do_xdp_generic(); drivers' rx_xdp_drop counters; include/uapi/linux/bpf.h enum xdp_action
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfAttachment
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc, xdp
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-xdp-drop-counter",
    title="an XDP program drops whatever arrives",
    severity="warning",
    confidence="likely",
    reads=("links", "bpf"),
    explains=(
        "neigh-gateway-failed",
        "bgp-not-established",
        "bgp-hold-timer-expired",
        "wg-handshake-stale",
        "wg-never-handshaked",
    ),
)
DROPS = {0: "aborted", 1: "drop"}
OFF = {"native": "xdpdrv", "generic": "xdpgeneric", "offload": "xdpoffload"}


def check(view: HostView) -> Iterator[Draft]:
    programs = {one.id: one for one in view.bpf.programs}
    for row in view.bpf.attachments:
        link, one = view.link(row.ifindex), programs.get(row.prog_id)
        if row.hook != "xdp" or link is None or not link.up or one is None or not one.verdicts:
            continue
        if not set(one.verdicts) <= DROPS.keys():
            continue
        ifname, name = link.ifname, one.function or one.name
        words = " or ".join(f"{DROPS[verdict]} ({verdict})" for verdict in one.verdicts)
        yield RULE.found(
            subject=subject("bpf-attachment", ifname=ifname, hook="xdp", name=name),
            message=f"{name} (xdp {row.mode} of {ifname}) drops whatever arrives: it returns nothing but {words}",
            evidence=[
                (f"{name} (program {one.id}) returns", words, "BPF_OBJ_GET_INFO_BY_FD xlated"),
                (f"{ifname} XDP", f"{row.mode}, program {one.id}", f"RTM_GETLINK {ifname} IFLA_XDP"),
            ],
            confirm=[f"ip link show dev {quoted(ifname)}", f"bpftool prog dump xlated id {one.id}"],
            fix=f"bpftool link detach id {row.link_id}"
            if row.link_id
            else f"ip link set dev {quoted(ifname)} {OFF.get(row.mode or '', 'xdp')} off",
            touches=[subject("link", ifname=ifname)],
            breaks=[subject("link", ifname=ifname)],
        )


def _host(verdicts: tuple[int, ...] | None, *, up: bool = True) -> HostBuilder:
    host = HostBuilder().link("eth0", up=up).bpf(programs=[program(1, "wall", type="xdp", verdicts=verdicts)])
    return xdp(host, "eth0", 1)


def examples() -> Iterator[Example]:
    for verdicts in ((1,), (0,), (0, 1)):
        yield Example(
            name=f"returns {verdicts}",
            why="nothing arrives",
            tables=_host(verdicts).build(),
            fires=1,
            subject=subject("bpf-attachment", ifname="eth0", hook="xdp", name="wall"),
            severity="warning",
            says=("xdpdrv off",),
        )
    yield Example(name="drop or pass", why="a filter", tables=_host((1, 2)).build())
    yield Example(name="pass", why="all arrives", tables=_host((2,)).build())
    yield Example(name="transmit", why="a reflector", tables=_host((3,)).build())
    yield Example(name="computed", why="a filter", tables=_host(None).build())
    yield Example(name="down", why="nothing arrives anyhow", tables=_host((1,), up=False).build())
    ok = HostBuilder().link("eth0").bpf(programs=[program(1, "gate", verdicts=(0,))])
    yield Example(name="0 by tc", why="there it is ok", tables=tc(ok, "eth0", 1).build())
    far = BpfAttachment(hook="xdp", prog_id=1, ifindex=99, mode="native")
    away = HostBuilder().bpf(programs=[program(1, "wall", type="xdp", verdicts=(1,))], attachments=[far]).build()
    yield Example(name="in another namespace", why="that one's matter", tables=away)
    unread = xdp(HostBuilder().link("eth0"), "eth0", 9).build()
    yield Example(name="not read", why="nobody knows what it returns", tables=unread)
