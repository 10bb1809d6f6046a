"""What it checks
  rtnetlink gives no answer for five seconds or more, to the question for interfaces and to the one for their counters
  alike, while /proc answers: somebody holds the kernel's rtnl lock and does not let go.

Why it matters
  The lock is one for the whole machine, all network namespaces together. While it is held no interface, address or
  route can be changed or asked for: ip, networkd, BIRD, CNI plugins and VM start-up hang in D state and cannot be
  killed. Traffic goes on over what is configured until the first change is needed. Known causes are drivers that wait
  for firmware, a module that takes the lock twice, and an interface whose removal waits for its last reference
  ("unregister_netdevice: waiting for ... to become free" in the kernel's log).

Confirm
  cat /proc/net/dev answers; (ip link > /dev/null 2>&1 & sleep 2; ps -o pid,stat,wchan:32,cmd -p $!) shows that ip
  still waits. Not "timeout 5 ip link": no signal ends who waits for the lock, and timeout waits with it.
  ps -eo pid,stat,wchan:32,cmd shows who waits in rtnl_lock, and the one in D state who does not wait for it

Fix
  Nothing on this host lets go of the lock from outside. Move what runs on it elsewhere while its traffic still flows,
  keep "echo w > /proc/sysrq-trigger" and dmesg for the bug report, then reboot it (it may need a power cycle).

Not flagged
  One collector that did not answer alone: its process was stopped, or the machine is busy. A deadline so short that
  nothing could answer. A host whose /proc is late as well.

References
  net/core/rtnetlink.c rtnl_lock() rtnl_dumpit(); net/ipv6/addrconf.c addrconf_sysctl_addr_gen_mode(), for which a
  setting cannot be read meanwhile; Documentation/networking/netdevices.rst, net/core/dev.c
  netdev_wait_allrefs_any()
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="rtnl-stuck",
    title="rtnetlink does not answer: somebody holds the rtnl lock",
    severity="critical",
    confidence="likely",
    reads=("procnet",),
)

LOCKED = ("links", "counters")
"""Collectors that need the lock (RTM_GETLINK) and have nothing else in common that could hang."""
ASK = "(ip link > /dev/null 2>&1 & sleep 2; ps -o pid,stat,wchan:32,cmd -p $!)"
"""Whether ip still waits, in a shell that does not wait for it."""
LONG = 5000.0
"""Milliseconds: nobody who works holds the lock as long; removing a thousand interfaces takes about a second."""


def check(view: HostView) -> Iterator[Draft]:
    late = {row.collector: row.duration_ms for row in view.coverage if row.status == "timeout"}
    if any(name not in late or late[name] < LONG for name in LOCKED):
        return
    answered = sorted(row.collector for row in view.coverage if row.status == "ok")
    yield RULE.found(
        subject=subject("host"),
        message=f"rtnetlink has not answered for {late['links'] / 1000:.0f} s while /proc does: the rtnl lock is held, "
        "no interface, address or route can be changed or asked for on the whole machine",
        evidence=[
            ("waited for interfaces", f"{late['links'] / 1000:.1f} s", "RTM_GETLINK"),
            ("did not answer", ", ".join(sorted(late)), "netdiag's collectors"),
            ("answered", ", ".join(answered), "netdiag's collectors"),
            ("interfaces that /proc tells", len(view.procnet.interfaces), "/proc/net/dev"),
        ],
        confirm=["cat /proc/net/dev", ASK, "ps -eo pid,stat,wchan:32,cmd"],
        fix="move what runs here elsewhere while traffic still flows, keep dmesg, then reboot: nothing frees the lock",
    )


def examples() -> Iterator[Example]:
    host = HostBuilder().link("eth0").build()
    yield Example(
        name="links and counters are late",
        why="the fault: what needs the lock hangs, what does not is there",
        tables=host,
        late=("links", "counters", "rules", "sysctls"),
        fires=1,
        subject=subject("host"),
    )
    yield Example(name="all answer", why="a healthy host", tables=host)
    yield Example(
        name="links alone is late", why="one stopped process is not a held lock", tables=host, late=("links",)
    )
    yield Example(name="counters alone is late", why="likewise", tables=host, late=("counters", "bird"))
    yield Example(
        name="others are late", why="a hanging daemon is not the kernel", tables=host, late=("bird", "routes")
    )
