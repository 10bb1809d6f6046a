"""What it checks
  A WireGuard device, by its public key, listens on another port than at the time of the baseline; the new port looks
  drawn by the kernel, and the old one was set: it is 51820 or one of those next to it, or lies outside the range from
  which ports are drawn, or the device had peers without an endpoint, which could not have found a port that changes.

Why it matters
  A device that is made anew without a listen port gets any free one. Peers go on calling the old port, where nobody
  listens. Those that this host calls follow it; all others are cut off, and so is the tunnel for the firewall that
  lets the old port in.

Confirm
  wg show IFNAME listen-port
  sysctl net.ipv4.ip_local_port_range

Fix
  wg set IFNAME listen-port PORT, and ListenPort in its configuration. Peers that follow it by now follow it again with
  the next packet.

Not flagged
  Clients, whose peers all have an endpoint and whose old port may have been drawn as well. A new port that looks set: a
  move that somebody planned. A device with another key. A drained host. Without a baseline the rule is not evaluated: a
  port that was set and one that was drawn look alike, as 51820 is in the range.

References
  drivers/net/wireguard/socket.c wg_socket_init(); net/ipv4/inet_connection_sock.c; wg(8) listen-port
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.model.wireguard import WireguardDevice
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_wireguard import WireguardBuilder
from netdiag.rules.expected import since
from netdiag.rules.shape import Example, Rule, quoted
from netdiag.rules.wireguardpeers import device_subject, source

RULE = Rule(
    id="wg-listen-port-random",
    title="a WireGuard device listens on a port that nobody knows",
    severity="warning",
    confidence="likely",
    reads=("wireguard", "baseline"),
    consults=("sysctls",),
    explains=("wg-listen-port-firewalled",),
)
USUAL = range(51820, 51840)
"""51820 is the documentation's; further devices of a host get the next ones."""
DRAWN = range(32768, 61000)
"""net.ipv4.ip_local_port_range as the kernel has it."""


def check(view: HostView) -> Iterator[Draft]:
    before = view.baseline
    if before is None or view.meta.drained or before.meta.drained:
        return
    then = {device.public_key: device for device in before.wireguard.devices}
    drawn = _drawn(view)
    for device in view.wireguard.devices:
        old = then.get(device.public_key or "")
        if old is None or not old.listen_port or old.listen_port == device.listen_port:
            continue
        if device.listen_port in USUAL or device.listen_port not in drawn:
            continue
        why = _was_set(old, drawn)
        if why is None:
            continue
        name = device.ifname
        yield RULE.found(
            subject=device_subject(device),
            message=f"{name} listens on port {device.listen_port}, which looks drawn, and {since(before)} no more on "
            f"{old.listen_port}: peers that call it there find nobody",
            evidence=[
                ("listen port now", device.listen_port, source(device, "WGDEVICE_A_LISTEN_PORT", "listen_port")),
                ("listen port then", old.listen_port, f"WGDEVICE_A_LISTEN_PORT, {since(before)}"),
                ("that the old one was set", why, "net.ipv4.ip_local_port_range, wg(8)"),
            ],
            confirm=[f"wg show {quoted(name)} listen-port", "sysctl net.ipv4.ip_local_port_range"],
            fix=f"wg set {quoted(name)} listen-port {old.listen_port}  # and ListenPort in its configuration",
        )


def _drawn(view: HostView) -> range:
    """The ports that the kernel draws from."""
    words = (view.sysctl("net.ipv4.ip_local_port_range") or "").split()
    return range(int(words[0]), int(words[1]) + 1) if len(words) == 2 and all(map(str.isdigit, words)) else DRAWN


def _was_set(old: WireguardDevice, drawn: range) -> str | None:
    """What shows that somebody set the old port; None: it may have been drawn."""
    port = old.listen_port or 0
    if port in USUAL:
        return f"{port} is WireGuard's usual one"
    if port not in drawn:
        return f"{port} is outside {drawn.start} to {drawn.stop - 1}"
    waiting = [peer for peer in old.peers if peer.endpoint is None]
    return f"{len(waiting)} peers had no endpoint" if waiting else None


def _host(port: int | None, *, endpoint: str | None = "192.0.2.9", ports: str | None = None) -> WireguardBuilder:
    host = WireguardBuilder().wireguard("wg0", listen_port=port).wg_peer("wg0", "a", endpoint=endpoint)
    if ports:
        host.sysctl("net.ipv4.ip_local_port_range", ports)
    return host


def examples() -> Iterator[Example]:
    about = subject("wireguard-interface", ifname="wg0")
    told: dict[str, Any] = {"fires": 1, "subject": about, "severity": "warning"}

    def case(name: str, why: str, now: HostBuilder, before: HostBuilder, **expected: Any) -> Example:
        return Example(name=name, why=why, tables=now.build(), baseline=before.build(), **expected)

    words = ("listens on port 43117, which looks drawn", "no more on 51820: peers that call it there find nobody")
    yield case(
        "51820 is gone", "the device was made anew without a port", _host(43117), _host(51820), says=words, **told
    )
    for port, name in ((51839, "the twentieth"), (500, "one below the range"), (61000, "one above the range")):
        yield case(f"{name} is gone", "nobody draws it", _host(43117), _host(port), **told)
    for port in (51819, 51840, 32768, 60999):
        yield case(f"{port} is gone", "it may have been drawn as well", _host(43117), _host(port))
    waiting = _host(40000, endpoint=None)
    yield case("peers call this host", "they had found the old one", _host(43117), waiting, **told)
    for port in (51820, 51839, 500, 32767, 61000):
        yield case(f"{port} is new", "somebody chose it", _host(port), _host(51819, endpoint=None))
    for port in (32768, 60999):
        yield case(f"{port} is new", "the ends of the range", _host(port), _host(51820), **told)
    yield case("the same", "as it was", _host(43117, endpoint=None), _host(43117, endpoint=None))
    narrow = _host(30000, ports="20000 31000")
    yield case("another range", "it is drawn from that", narrow, _host(40000), **told)
    for port, fires in ((31000, told), (31001, {})):
        now = _host(port, ports="20000 31000")
        yield case(f"another range, {port}", "its end is drawn as well", now, _host(40000), **fires)
    yield case("another range, another port", "somebody chose it", _host(43117, ports="20000 31000"), _host(51820))
    yield case("a range that is none", "the kernel's own", _host(43117, ports="20000"), _host(51820), **told)
    yield case("a range of words", "the kernel's own", _host(43117, ports="a b"), _host(51820), **told)
    yield case("not told now", "nobody knows", _host(None), _host(51820))
    yield case("not told then", "nobody knows", _host(43117), _host(None))
    drained: dict[str, Any] = {"labels": {"drained": "true"}}
    yield case("labelled drained", "nobody calls it", _host(43117), _host(51820), **drained)
    yield case("no such device then", "it is new", _host(43117), HostBuilder())
