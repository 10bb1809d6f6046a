"""Near misses of the domains dns-resolver and time."""

from tests.zoo.near import Line, Near, Shown, routes, some

LINES: tuple[Line, ...] = (
    Near("dns-consul-forward-broken", "no consul here", "resolver_host", lambda t: not t.resolver.forwarders),
    Near(
        "dns-nameserver-unroutable",
        "the second nameserver is of a family without a way out",
        "router_on_advertisements",
        lambda t: (
            t.resolver.nameservers == ("192.0.2.53", "2001:db8:53::53")
            and not routes(t, dst="::/0", type="unreachable")
        ),
    ),
    Near("dns-no-nameserver", "names from files only", "small_cloud_machine", lambda t: t.resolver.hosts == ("files",)),
    Near(
        "dns-stub-dead",
        "a stub of its own in the namespace",
        "resolved_stub",
        lambda t: t.resolver.nameservers == ("127.0.0.53",) and some(t.sockets.rows(), src="127.0.0.53", sport=53),
    ),
    Near(
        "dns-too-many-ns-or-search",
        "seven search domains, which glibc takes since 2.26",
        "router_on_advertisements",
        lambda t: len(t.resolver.search) == 7,
    ),
    Near(
        "time-unsynchronised",
        "the first minutes after boot",
        "just_booted",
        lambda t: t.clock.synchronised is False and t.clock.boottime < 600 and t.clock.daemons,
    ),
    Near(
        "time-unsynchronised",
        "a virtual machine whose clock the hypervisor keeps",
        "small_cloud_machine",
        lambda t: t.clock.synchronised is False and not t.clock.daemons,
    ),
    Shown("time-step-detected", "a leap second", "a leap second"),
    Shown("time-offset-large", "snapshots taken some seconds apart", "nine seconds"),
)
