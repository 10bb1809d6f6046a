"""Examples of nameservers behind a resolver of this host, for dns-nameserver-unroutable. Pure; nothing can fail."""

from collections.abc import Callable, Iterator
from typing import Any

from netdiag.model.host import Forwarder
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example


def stub_examples(fires: Callable[..., Example]) -> Iterator[Example]:
    """A resolver of this host is asked, and asks others in turn; ``fires`` makes an example that is told of."""
    far, other = "198.51.100.53", "203.0.113.53"

    def host(
        *servers: str,
        cut: tuple[str, ...] = (far,),
        comm: str = "systemd-resolve",
        domain: str | None = None,
        **fields: Any,
    ) -> HostBuilder:
        made = (
            HostBuilder().link("eth0").address("eth0", "192.0.2.1/24").route("default", via="192.0.2.254", dev="eth0")
        )
        for address in cut:
            made.route(f"{address}/32", type="blackhole")
        path = "/run/systemd/resolve/resolv.conf"
        rows = [Forwarder(daemon="systemd-resolved", address=one, source=path, domain=domain) for one in servers]
        made.socket(protocol=17, src="127.0.0.53", sport=53, comm=comm)
        return made.resolver("127.0.0.53", forwarders=tuple(rows), **fields)

    def calm(name: str, why: str, made: HostBuilder) -> Example:
        return Example(name=name, why=why, tables=made.build())

    words = f"nameserver {far}, whom systemd-resolved asks, do not leave this host: the blackhole route"
    yield fires("a stub's only one", "the stub waits for it", host(far), "critical", 1, words)
    yield fires("by nss-resolve", "the same", host(far, hosts=("files", "resolve", "dns")), "critical", 1, words)
    yield fires("one of a stub's two", "it takes the one that answers", host(far, other), "info")
    yield fires("both of the stub's", "none is left", host(far, other, cut=(far, other)), "critical", 2)
    masq = host(cut=(far,), comm="dnsmasq").resolver(
        "127.0.0.53", forwarders=(Forwarder(daemon="dnsmasq", address=far, source="/etc/dnsmasq.conf"),)
    )
    yield fires("dnsmasq's only one", "it may have a resolv-file", masq, "warning")
    yield calm("a stub's, for one domain", "whom else it asks is not known", host(far, domain="lan"))
    yield calm("another program's", "whom that asks is not known", host(far, comm="coredns"))
    yield calm("a stub's, which is reached", "as it should be", host(other))
    yield calm("a stub behind a stub", "it is followed no further", host(far, "127.0.0.1"))
    yield calm("hosts only, beside a stub", "nobody asks", host(far, hosts=("files",)))
