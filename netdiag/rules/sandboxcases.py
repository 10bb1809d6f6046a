"""Examples of guests that are meant to reach nothing but a service of their host. Pure; nothing can fail."""

from collections.abc import Callable, Iterator

from netdiag.rules.build import HostBuilder
from netdiag.rules.build_nft import chain, iif, iifname, plain, port, rule, table, verdict
from netdiag.rules.shape import Example


def sandbox_cases(case: Callable[..., Example], host: Callable[[], HostBuilder]) -> Iterator[Example]:
    """Of nf-forward-drop-policy: nothing is forwarded for the machine of ``host``, and a port is open at input."""
    for name, number, by_name, translated, severity in (
        ("a proxy of this host", 3128, True, False, "info"),
        ("a proxy of this host, and are translated", 3128, True, True, "critical"),
        ("the resolver of this host", 53, True, False, "critical"),
        ("a port that is open to all", 3128, False, False, "critical"),
    ):
        opens = rule(*((iifname("tap0"),) if by_name else ()), port(6, number), verdict("accept"))
        lo = rule(iif(1), verdict("accept"))
        own = table(chain("fwd", hook="forward", policy="drop"), chain("in", lo, opens, hook="input", policy="drop"))
        box = host()
        if translated:
            nat = chain("post", rule(plain("masq")), hook="postrouting", type="nat")
            box.nft(own, table(nat, name="nat"))
        else:
            box.nft(own)
        yield case(f"guests reach {name}", "a sandbox, or a forgotten rule", box, 1, severity=severity)
    web = chain("in", rule(iifname("tap0"), port(6, 3128), verdict("accept")), hook="input", policy="drop")
    both = table(web, name="own"), table(chain("FORWARD", hook="forward", policy="drop"), family="ip")
    yield case("another table opens the port", "Docker came later", host().nft(*both), 1, severity="critical")
