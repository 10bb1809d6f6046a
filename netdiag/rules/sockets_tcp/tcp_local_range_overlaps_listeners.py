"""What it checks
  Listening TCP ports inside net.ipv4.ip_local_port_range, below the 32768 where that range starts on an untouched
  host, which net.ipv4.ip_local_reserved_ports does not keep free.

Why it matters
  Any outgoing connection can be given that very port. While the service runs nothing happens; when it is restarted,
  or starts after its clients at boot, bind() fails with EADDRINUSE, now and then, and never when somebody looks.

Confirm
  sysctl net.ipv4.ip_local_port_range net.ipv4.ip_local_reserved_ports
  ss -ltn

Fix
  sysctl -w net.ipv4.ip_local_reserved_ports=8080,9090: all that listens in the range, and what was reserved
  before, which is overwritten. It takes effect at once and disturbs nobody.

Not flagged
  Ports from 32768 on: programs that let the kernel choose listen there, too. Reserved ports. It is only ever a note:
  a service that starts before its clients never notices.

References
  Documentation/networking/ip-sysctl.rst ip_local_reserved_ports; net/ipv4/inet_connection_sock.c
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.distinct import distinct
from netdiag.model.finding import Draft, subject
from netdiag.model.protocols import IPPROTO_TCP
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule
from netdiag.rules.sockets_tcp.tcp_ephemeral_exhausted import ports
from netdiag.rules.sockettables import listening

RULE = Rule(
    id="tcp-local-range-overlaps-listeners",
    title="outgoing connections may take the port of a service",
    severity="info",
    reads=("sockets", "sysctls"),
)
USUAL = 32768
SHOWN = 20


def check(view: HostView) -> Iterator[Draft]:
    allowed = ports(view) or set()
    table = view.sockets
    found = distinct(table.sport[listening(table, IPPROTO_TCP)]).tolist()
    caught = [port for port in found if port in allowed and port < USUAL]
    if not caught:
        return
    listed = ",".join(str(port) for port in caught[:SHOWN])
    reserved = view.sysctl("net.ipv4.ip_local_reserved_ports") or ""  # the setting is written as a whole
    yield RULE.found(
        subject=subject("sysctl", name="net.ipv4.ip_local_port_range"),
        message=f"listening ports {listed} can be given to outgoing connections: the service may fail to start again",
        evidence=[
            (
                "ip_local_port_range",
                view.sysctl("net.ipv4.ip_local_port_range"),
                "/proc/sys/net/ipv4/ip_local_port_range",
            ),
            ("reserved", reserved or "none", "ip_local_reserved_ports"),
            ("listening ports in it", listed, "SOCK_DIAG tcp"),
        ],
        confirm=["sysctl net.ipv4.ip_local_port_range net.ipv4.ip_local_reserved_ports", "ss -ltn"],
        fix=f"sysctl -w net.ipv4.ip_local_reserved_ports={reserved and reserved + ','}{listed}",
    )


def examples() -> Iterator[Example]:
    def case(
        name: str,
        why: str,
        fires: int,
        *,
        span: str = "1024\t65535",
        reserved: str = "",
        port: int = 8080,
        protocol: int = 6,
        says: tuple[str, ...] = (),
    ) -> Example:
        host = HostBuilder().sysctl("net.ipv4.ip_local_port_range", span)
        host.sysctl("net.ipv4.ip_local_reserved_ports", reserved).socket(sport=port, protocol=protocol)
        return Example(name=name, why=why, tables=host.build(), fires=fires, says=says)

    yield case("a widened range", "the plain fault", 1)
    yield case("at its start", "the first port counts", 1, port=1024)
    yield case("the last below the usual start", "32767", 1, port=32767)
    yield case("at the usual start", "ports that the kernel chose", 0, port=32768)
    yield case("below the range", "never given away", 0, port=1023)
    yield case("reserved", "kept free", 0, reserved="8080")
    both = ("ip_local_reserved_ports=9090,8080",)
    yield case("another one reserved", "it stays so", 1, reserved="9090", says=both)
    yield case("the usual range", "an untouched host", 0, span="32768\t60999")
    yield case("UDP", "another table of ports", 0, protocol=17)
    yield case("range not known", "nothing to compare with", 0, span="")
