"""A lab: hosts and the cables between them, taken down together.

Interfaces are made inside a host and moved by the other host's namespace path; the real machine's own network
namespace is never touched, not even for a moment.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from tests.lab import daemons, traffic
from tests.lab.host import Host
from tests.lab.wait import wait_until

T = TypeVar("T")

# Addresses of a lab are usable at once: no second of duplicate address detection. Both settings must be below 1,
# or an address stays tentative until a timer runs (net/ipv6/addrconf.c, addrconf_dad_begin).
_NO_DAD = {"net.ipv6.conf.all.accept_dad": "0", "net.ipv6.conf.default.accept_dad": "0"}


class Lab:
    """A context manager; everything made by it is gone after it, whatever happened in between."""

    def __init__(self) -> None:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        self._label = f"netdiag-lab:{worker}:{os.getpid()}"
        self._switches = itertools.count()
        self._indexes = itertools.count(100)
        self.hosts: dict[str, Host] = {}

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take every host down; one that resists does not keep the others."""
        with contextlib.ExitStack() as stack:
            for host in self.hosts.values():
                stack.callback(host.close)
        self.hosts.clear()

    def host(
        self, name: str, *, dad: bool = False, sysctls: Mapping[str, str] | None = None, own_cgroup: bool = False
    ) -> Host:
        """A new host of that name, with `lo` up and nothing else.

        `dad` leaves IPv6 duplicate address detection as the kernel has it; `sysctls` are written before any
        interface but `lo` exists, so those of `net.*.conf.default` hold for every later one.
        `own_cgroup` makes /sys/fs/cgroup a tree of its own instead of the machine's, for BPF on cgroups.
        Raises ValueError for a name in use, LabError if the kernel refuses.
        """
        if name in self.hosts:
            raise ValueError(f"there is already a host {name!r}")
        host = Host(name, self._label, {**({} if dad else _NO_DAD), **(sysctls or {})}, own_cgroup)
        self.hosts[name] = host
        return host

    def link(
        self,
        a: Host,
        a_ifname: str,
        b: Host,
        b_ifname: str,
        *,
        a_addresses: str | Iterable[str] = (),
        b_addresses: str | Iterable[str] = (),
        mtu: int = 1500,
        up: bool = True,
    ) -> None:
        """A veth cable between two hosts (or within one), with addresses such as `192.0.2.1/30`, both ends up.

        Returns when both ends run, unless `up` is false. `mtu` is in bytes. Every interface of a lab has another
        index: where both ends have the same one, the kernel takes the veth for an interface without a lower one and
        reports its carrier up to a second late (net/core/link_watch.c, linkwatch_urgent_event).
        """
        a_index, b_index = next(self._indexes), next(self._indexes)
        a.ip(
            f"link add name {a_ifname} index {a_index} mtu {mtu} type veth"
            f" peer name {b_ifname} index {b_index} mtu {mtu} netns {b.netns_path}\n"
            + _settings(a_ifname, a_addresses, up)
        )
        b_lines = _settings(b_ifname, b_addresses, up)
        if b_lines:
            b.ip(b_lines)
        if up:
            self.wait(lambda: a.running(a_ifname) and b.running(b_ifname), what=f"{a_ifname} and {b_ifname} are up")

    def switch(self, name: str = "") -> Host:
        """A host that only holds a bridge `br0`, for `plug`; its own address and IPv6 are off."""
        host = self.host(name or f"switch{next(self._switches)}", sysctls={"net.ipv6.conf.default.disable_ipv6": "1"})
        host.ip("link add name br0 type bridge\nlink set dev br0 up")
        return host

    def plug(
        self, host: Host, ifname: str, switch: Host, addresses: str | Iterable[str] = (), *, mtu: int = 1500
    ) -> str:
        """A cable from `host` to a port of `switch`; gives the port's name, which is the host's name cut to size."""
        taken = switch.call(lambda: os.listdir("/sys/class/net"))
        port = next(p for n in itertools.count() if (p := f"{host.name[:11]}{n}") not in taken)
        self.link(host, ifname, switch, port, a_addresses=addresses, mtu=mtu)
        switch.ip(f"link set dev {port} master br0")
        return port

    # -- traffic, see tests/lab/traffic.py --------------------------------------------------------------------------

    def send_udp(self, host: Host, dst: str, port: int, **how: Any) -> dict[str, int]:
        """`traffic.send_udp`: a bounded number of datagrams, and how each ended."""
        return traffic.send_udp(host, dst, port, **how)

    def send_tcp(self, host: Host, dst: str, port: int, **how: Any) -> str:
        """`traffic.send_tcp`: one connection, and how it ended."""
        return traffic.send_tcp(host, dst, port, **how)

    def listen_udp(self, host: Host, address: str, port: int, *, echo: bool = False) -> traffic.Listener:
        """`traffic.listen_udp`: count what arrives."""
        return traffic.listen_udp(host, address, port, echo=echo)

    def listen_tcp(self, host: Host, address: str, port: int) -> traffic.Listener:
        """`traffic.listen_tcp`: accept, read and count."""
        return traffic.listen_tcp(host, address, port)

    # -- daemons, see tests/lab/daemons.py --------------------------------------------------------------------------

    def birdd(self, host: Host, conf: str, **how: Any) -> daemons.Daemon:
        """`daemons.birdd`: a real BIRD that answers on its control socket."""
        return daemons.birdd(host, conf, **how)

    def wireguard(
        self, host: Host, ifname: str, private_key: str, port: int, peers: Sequence[daemons.Peer] = ()
    ) -> daemons.Daemon:
        """`daemons.wireguard`: a WireGuard interface by wireguard-go, configured and down."""
        return daemons.wireguard(host, ifname, private_key, port, peers)

    def nft(self, host: Host, ruleset: str) -> None:
        """`daemons.nft`: load a rule set."""
        daemons.nft(host, ruleset)

    def bpf(self, host: Host, name: str, source: str) -> str:
        """`daemons.bpf`: compile C for BPF; the object's path inside the host."""
        return daemons.bpf(host, name, source)

    def wait(self, condition: Callable[[], T], timeout: float = 5.0, what: str = "", pause: float | None = None) -> T:
        """See `wait_until`."""
        return wait_until(condition, timeout, what) if pause is None else wait_until(condition, timeout, what, pause)


def _settings(ifname: str, addresses: str | Iterable[str], up: bool) -> str:
    listed = [addresses] if isinstance(addresses, str) else list(addresses)
    lines = [f"address add {address} dev {ifname}" for address in listed]
    if up:
        lines.append(f"link set dev {ifname} up")
    return "\n".join(lines)
