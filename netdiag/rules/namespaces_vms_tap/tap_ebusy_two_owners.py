"""What it checks
  A tap with a single queue is held by one process, and another one of the same namespace wants it too: its command
  line names that tap, it is no holder of it, and it is a virtual machine monitor or has /dev/net/tun open in vain.

Why it matters
  The second one gets EBUSY ("Resource busy (os error 16)"): its machine does not start, or runs without a network.
  Which of the two has the tap depends on which was faster.

Confirm
  grep -lsxF "iff:<TAB>TAP" /proc/[0-9]*/fdinfo/*
  tr '\\0' ' ' < /proc/PID/cmdline              (of the one that waits)

Fix
  Give each machine a tap of its own: ip tuntap add dev NEWTAP mode tap, and name it in the second machine's
  configuration. If the first machine is the stale one, end it: its guest is cut off, and the second one can start.

Not flagged
  Taps with several queues, which many descriptors share. A process and its own helpers that hold the same tap. A
  process that names several taps and holds them. A tap of that name in another namespace. Processes that only name
  the tap on their command line (a shell, an editor). A monitor with /dev/net/tun open in vain that names no tap (it was
  told over its API) is a warning as well: its tap was refused, or deleted under it, and either way its machine is cut
  off; and so of any program of which another process holds a tap. Where the same process holds a tap besides, it is an
  info, and so of any other program where a tap is held. The moment between open() and TUNSETIFF looks alike and lasts
  microseconds.

References
  drivers/net/tun.c tun_attach() (EBUSY), tun_chr_show_fdinfo(); https://github.com/cocoonstack/cocoon/issues/141
"""

from collections.abc import Iterator

from netdiag.index.taps import unattached
from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.tap import TapWish
from netdiag.rules.build import HostBuilder
from netdiag.rules.guesttaps import READS, GuestTap, guest_taps, holders_command, pid_words
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="tap-ebusy-two-owners",
    title="two processes want the same tap",
    severity="warning",
    reads=READS,
)


def rivals(view: HostView, tap: GuestTap) -> list[TapWish]:
    """Processes that want the tap and have it not."""
    if tap.link.info.get("multi_queue") or not tap.holders:
        return []
    wishes = [w for w in view.taps.wishes if w.ifname == tap.link.ifname and w.netns in (None, view.taps.netns)]
    if not wishes:
        return []
    have = {holder.pid for holder in view.taps.holders}
    in_vain = {holder.pid for holder in unattached(view.taps)}
    return [w for w in wishes if w.pid in in_vain or (w.vmm is not None and w.pid not in have)]


def check(view: HostView) -> Iterator[Draft]:
    told = set()
    for tap in guest_taps(view):
        for wish in rivals(view, tap)[:1]:
            told.add(wish.pid)
            name = tap.link.ifname
            yield RULE.found(
                subject=tap.about,
                message=f"{wish.vmm or wish.comm} (pid {wish.pid}) wants the tap {name}, which {tap.holder} holds: "
                "it gets EBUSY",
                evidence=(
                    *pid_words(tap),
                    (f"names {name}", f"{wish.comm} (pid {wish.pid})", f"/proc/{wish.pid}/cmdline"),
                    (f"{name} multi_queue", "off", f"RTM_GETLINK {name} IFLA_TUN_MULTI_QUEUE"),
                ),
                confirm=(holders_command(name), f"tr '\\0' ' ' < /proc/{wish.pid}/cmdline; echo"),
                fix="ip tuntap add dev NEWTAP mode tap  # and name it in the second machine's configuration",
                touches=tap.objects,
                breaks=tap.objects,
            )
    single = [tap for tap in guest_taps(view) if tap.holders and not tap.link.info.get("multi_queue")]
    served = {holder.pid for holder in view.taps.holders if holder.ifname is not None}
    for holder in unattached(view.taps):
        kin = [tap for tap in single if holder.comm in {one.comm for one in tap.holders}]
        guess = (holder.vmm is None and not kin) or holder.pid in served
        if holder.pid in told or not (holder.vmm is not None or single):
            continue
        told.add(holder.pid)
        wanted = kin[0] if len(kin) == 1 and not guess else None
        yield RULE.found(
            subject=wanted.about if wanted else subject("tap", comm=holder.comm),
            severity="info" if guess else "warning",
            confidence="possible" if guess else "likely",
            message=f"{holder.vmm or holder.comm} (pid {holder.pid}) has /dev/net/tun open without a device behind it: "
            + (
                f"its tap was refused (another one, {wanted.holder}, holds {wanted.link.ifname}), or deleted under it"
                if wanted
                else "its tap was refused, or deleted under it"
            ),
            evidence=(
                ("device behind it", "none", f"/proc/{holder.pid}/fdinfo iff:"),
                *(pid_words(wanted) if wanted else ()),
            ),
            confirm=(
                f"grep -hs iff: /proc/{holder.pid}/fdinfo/* | cat -A; echo",
                *((holders_command(wanted.link.ifname),) if wanted else ()),
            ),
            fix=f"kill {holder.pid}  # and start that machine again with a tap of its own",
        )


def _taps(**info: object) -> HostBuilder:
    return HostBuilder().tap("tap0", info=info or None).route("10.1.0.5/32", dev="tap0")


def _case(name: str, why: str, host: HostBuilder, fires: int = 0, **more: object) -> Example:
    return Example(name=name, why=why, tables=host.build(), fires=fires, **more)  # type: ignore[arg-type]


def examples() -> Iterator[Example]:
    about = subject("tap", ifname="tap0")
    vain = _taps().tap_holder(None, pid=50, comm="vmm").tap_wish("tap0", 50, comm="vmm")
    yield _case("open in vain", "the second one was refused", vain, 1, subject=about, severity="warning")
    vmm = _taps().tap_wish("tap0", 50, vmm="qemu", comm="qemu-system-x86")
    yield _case("a monitor without any tap", "it closed the file that was refused", vmm, 1, severity="warning")
    nameless = _taps().tap_holder(None, pid=50, comm="firecracker")
    yield _case("no name on the command line", "configured over its API", nameless, 1, severity="warning")
    script = _taps().tap_holder(None, pid=50, comm="python3")
    yield _case("some program in vain", "it may have asked for a tap that is held", script, 1, severity="info",
                says=("python3 (pid 50)",))  # fmt: skip
    twin = HostBuilder().tap("tap0", holder="python3").tap_holder(None, pid=50, comm="python3")
    yield _case("the program that holds it, once more", "it was started twice", twin, 1, severity="warning",
                confidence="likely", subject=about, says=("holds tap0",))  # fmt: skip
    two = HostBuilder().tap("tap0", holder="python3").tap("tap1", holder="python3")
    two.tap_holder(None, pid=50, comm="python3")
    yield _case("of two taps, who knows which", "each is held by such a program", two, 1, severity="warning",
                subject=subject("tap", comm="python3"))  # fmt: skip
    queued = HostBuilder().tap("tap0", holder="python3", info={"multi_queue": True})
    queued.tap_holder(None, pid=50, comm="python3").tap("tap1")
    yield _case("the program holds one with several queues", "nobody refused it there", queued, 1, severity="info")
    early = HostBuilder().tap("tap0", holder=None).tap_holder(None, pid=50, comm="python3")
    yield _case("some program, and no tap is held", "nobody refused it", early)
    queues = _taps(multi_queue=True).tap_holder(None, pid=50, comm="python3")
    yield _case("some program, and the tap has several queues", "nor there", queues)
    second = _taps().tap("tap1", holder=None).tap_holder("tap1", pid=50, comm="firecracker")
    second.tap_holder(None, pid=50, comm="firecracker")
    yield _case("one tap more in vain", "its machine has another one", second, 1, severity="info")
    yield _case("its own holder", "a machine names its own tap", _taps().tap_wish("tap0", 1000, vmm="firecracker"))
    many = _taps(multi_queue=True).tap_holder(None, pid=50, comm="vmm").tap_wish("tap0", 50)
    yield _case("several queues", "they are shared", many)
    away = _taps().tap_wish("tap0", 50, vmm="firecracker", netns=2)
    yield _case("another namespace", "it has a tap0 of its own there", away)
    two = _taps().tap("tap1").tap_wish("tap0", 1001, vmm="firecracker")
    yield _case("holds another one", "a machine with two taps, of which a helper holds one", two)
    yield _case("a shell that names it", "neither a monitor nor at the device", _taps().tap_wish("tap0", 50, vmm=None))
    yield _case("nobody holds it", "it is free to take", HostBuilder().tap("tap0", holder=None).tap_wish("tap0", 50))
    yield _case("free, and wanted by a monitor", "it is about to start",
                HostBuilder().tap("tap0", holder=None).tap_wish("tap0", 50, vmm="qemu"))  # fmt: skip
    known = _taps().tap("tap1").tap_holder(None, pid=50, comm="firecracker").tap_wish("tap1", 50, vmm="firecracker")
    yield _case("a monitor in vain", "one finding, of the tap that it names", known, 1, subject={"ifname": "tap1"},
                severity="warning")  # fmt: skip
