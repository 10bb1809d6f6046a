"""What it checks
  Helpers of connection tracking are assigned to connections by their port alone (nf_conntrack_helper=1, a setting of
  kernels before 6.0).

Why it matters
  Whoever can send a packet from or to port 21, 5060 or 69 makes the host parse the payload, rewrite addresses in it
  where there is NAT, and open ports for "related" connections. SIP and FTP then break in odd ways, or work where they
  must not.

Confirm
  sysctl net.netfilter.nf_conntrack_helper
  conntrack -L expect

Fix
  sysctl -w net.netfilter.nf_conntrack_helper=0, and a rule that names the helper (nft: ct helper set; iptables: -j CT
  --helper) for the connections that need one. Connections that have a helper keep it.

Not flagged
  Kernels without the setting: from 6.0 on helpers are assigned by rules only. Info only: gateways for FTP and SIP were
  built like this for years.

References
  Documentation/networking/nf_conntrack-sysctl.rst; Linux commit b118509076b3 ("netfilter: remove nf_conntrack_helper
  sysctl and modparam toggles")
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="ct-helper-unexpected",
    title="helpers of connection tracking come by port alone",
    severity="info",
    reads=("conntrack_state",),
)
NAME = "net.netfilter.nf_conntrack_helper"


def check(view: HostView) -> Iterator[Draft]:
    state = view.conntrack_state
    if state.settings.get("helper") == 1:
        yield RULE.found(
            subject=subject("sysctl", name=NAME),
            message="connections on the ports of FTP, SIP or TFTP get a helper that reads and rewrites their payload",
            evidence=[
                (NAME, 1, f"/proc/sys/{NAME.replace('.', '/')}"),
                ("connections that helpers wait for", state.expectations, "/proc/net/nf_conntrack_expect"),
            ],
            confirm=[f"sysctl {NAME}"],
            fix=f"sysctl -w {NAME}=0",
        )


def examples() -> Iterator[Example]:
    def case(name: str, why: str, settings: dict[str, int], fires: int = 0) -> Example:
        tables = HostBuilder().conntrack_state(settings=settings).build()
        return Example(name=name, why=why, tables=tables, fires=fires)

    yield case("on", "the plain state", {"helper": 1}, 1)
    yield case("off", "the default", {"helper": 0})
    yield case("no such setting", "a kernel from 6.0 on", {})
