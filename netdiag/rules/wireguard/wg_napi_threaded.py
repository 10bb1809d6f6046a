"""What it checks
  The kernel's WireGuard interface receives in NAPI threads (/sys/class/net/IFNAME/threaded is 1), and it has peers.

Why it matters
  Nothing is lost yet. On kernels without the repair, the thread that takes a peer's decrypted packets can stop for
  good: the peer shakes hands as if all were well and hears this host, but nothing that it sends comes out of the
  tunnel, until the interface is made anew. A new key or endpoint does not help, no counter of errors moves, and the
  other peers are well. Kernel 6.16 switched threads on by default, stable kernels took that over, and it was taken
  back (CVE-2026-52945); Calico can switch them on too. Which kernels have what is not told by the number of the
  release, so this is told wherever the threads are on, as information.

Confirm
  cat /sys/class/net/IFNAME/threaded
  wg show IFNAME transfer      (twice: a peer whose received bytes grow by 92 or 148 only, though it sends)

Fix
  echo 0 > /sys/class/net/IFNAME/threaded goes back to softirqs for packets to come; many tunnels then share a core. A
  peer that has stalled already needs the interface deleted and made again, which cuts all its peers meanwhile.

Not flagged
  Interfaces without peers, and those that wireguard-go serves: the daemon reads a tun, there is no such thread. Where
  /sys does not say, the rule is not evaluated.

References
  net/core/dev.c netif_set_threaded(), drivers/net/wireguard/receive.c wg_packet_rx_poll(), drivers/net/wireguard/peer.c
"""

from collections.abc import Iterator
from dataclasses import replace

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, Unjudged, subject
from netdiag.model.snapshot import Tables
from netdiag.model.softirq import DeviceQueues, Softirqs, SoftirqSample
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguardpeers import device_subject
from netdiag.rules.wireguardways import alive, device_objects

RULE = Rule(
    id="wg-napi-threaded",
    title="WireGuard receives in threads, which can stall for one peer",
    severity="info",
    confidence="possible",
    reads=("links", "wireguard", "softirq"),
    own_cause=True,
)


def check(view: HostView) -> Iterator[Draft | Unjudged]:
    told = {row.ifindex: row.threaded for row in view.softirq.first.queues}
    for device, link in alive(view):
        if device.userspace:
            continue
        threaded = told.get(link.ifindex)
        if threaded is None:
            yield Unjudged(reason=f"/sys does not tell whether {device.ifname} receives in threads")
        elif threaded:
            path = f"/sys/class/net/{quoted(device.ifname)}/threaded"
            yield RULE.found(
                subject=device_subject(device),
                message=f"{device.ifname} receives in NAPI threads: on a kernel without the repair of CVE-2026-52945"
                f" one of its {len(device.peers)} peers can fall silent for good",
                evidence=[
                    (f"{device.ifname} threaded", 1, f"/sys/class/net/{device.ifname}/threaded"),
                    ("peers", len(device.peers), f"WG_CMD_GET_DEVICE {device.ifname}"),
                ],
                confirm=[f"cat {path}", f"wg show {quoted(device.ifname)} transfer"],
                fix=f"echo 0 > {path}  # many tunnels then share a core",
                touches=device_objects(device),
            )


def _tables(threaded: bool | None, *, userspace: bool = False, peers: bool = True) -> Tables:
    host = WireguardBuilder().wireguard("wg0", userspace=userspace)
    tables = (host.wg_peer("wg0", "a", age=20) if peers else host).build()
    row = DeviceQueues(ifindex=tables.wireguard.devices[0].ifindex or 0, ifname="wg0", threaded=threaded)
    return replace(tables, softirq=Softirqs(first=SoftirqSample(at=1.0, queues=(row,))))


def examples() -> Iterator[Example]:
    about = subject("wireguard-interface", ifname="wg0")
    yield Example(name="threads", why="the latent fault", tables=_tables(True), fires=1, subject=about, severity="info")
    yield Example(name="softirqs", why="as most kernels have it", tables=_tables(False))
    yield Example(name="wireguard-go", why="threads of a tun are another matter", tables=_tables(True, userspace=True))
    yield Example(name="no peer", why="there is nobody to stall", tables=_tables(True, peers=False))
    yield Example(name="not told", why="/sys of another namespace", tables=_tables(None), unjudged=True)
    unread = replace(_tables(True), softirq=Softirqs())
    yield Example(name="no row", why="the interface came later", tables=unread, unjudged=True)
