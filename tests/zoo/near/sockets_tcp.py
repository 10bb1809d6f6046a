"""Near misses of the domain sockets-tcp."""

from tests.zoo.near import Line, Near, link, moved, sockets, some, sysctl, total

LINES: tuple[Line, ...] = (
    Near(
        "ip-fragfails",
        "each packet that is too big is told to its sender",
        "transit_router",
        lambda t: moved(t, "Ip.FragFails") == moved(t, "Icmp.OutDestUnreachs") == 3,
    ),
    Near(
        "tcp-ephemeral-exhausted",
        "more sockets than ports, to two services",
        "busy_proxy",
        lambda t: sockets(t, sport=lambda p: 40000 <= p <= 40100, dport=443) == 180,
    ),
    Near("tcp-listen-overflow", "ListenDrops alone", "busy_proxy", lambda t: moved(t, "TcpExt.ListenDrops") == 3),
    Near(
        "tcp-listen-overflow",
        "overflows since boot",
        "busy_proxy",
        lambda t: total(t, "TcpExt.ListenOverflows") == 900 and not moved(t, "TcpExt.ListenOverflows"),
    ),
    Near(
        "tcp-mem-pressure",
        "pages, not bytes",
        "busy_proxy",
        lambda t: t.counters.first.sockstat["TCP.mem"] == 150_000,
    ),
    Near(
        "tcp-rcvq-stuck",
        "an idle consumer with a little to read",
        "busy_proxy",
        lambda t: sockets(t, dport=9002, rqueue=900, later_rqueue=900),
    ),
    Near(
        "udp-rcvbuf-errors",
        "drops of the past, buffers as the system has them",
        "busy_proxy",
        lambda t: total(t, "Udp.RcvbufErrors") == 900 and sysctl(t, "net.core.rmem_max") == "212992",
    ),
    Near(
        "udp-wildcard-reply-source",
        "a program that sets its source by IP_PKTINFO looks alike",
        "busy_proxy",
        lambda t: sockets(t, protocol=17, sport=53) and len(some(t.addresses, ifindex=link(t, "eth0").ifindex)) > 1,
    ),
    Near(
        "ip-nonlocal-bind",
        "the standby of a pair",
        "warm_standby",
        lambda t: sysctl(t, "net.ipv4.ip_nonlocal_bind") == "1" and some(t.sockets.rows(), src="192.0.2.100", sport=80),
    ),
    Near("ip-reasm-fails", "scans with fragments", "transit_router", lambda t: moved(t, "Ip.ReasmFails") == 3),
    Near(
        "tcp-close-wait-leak",
        "a burst that goes by itself",
        "busy_proxy",
        lambda t: sockets(t, state=8, later_state=9) == 40,
    ),
    Near(
        "tcp-local-range-overlaps-listeners",
        "a listener in the range that is there before any client",
        "busy_proxy",
        lambda t: sockets(t, state=10, sport=40050) == 1,
    ),
    Near(
        "tcp-orphans",
        "below half, for the kernel counts them double",
        "busy_proxy",
        lambda t: t.counters.first.sockstat["TCP.orphan"] == 400 and sysctl(t, "net.ipv4.tcp_max_orphans") == "1000",
    ),
    Near(
        "tcp-prune-collapse",
        "a slow program: room was made once",
        "busy_proxy",
        lambda t: total(t, "TcpExt.PruneCalled") == 900 and not moved(t, "TcpExt.TCPRcvPruned"),
    ),
    Near("tcp-retrans-high", "few segments", "scanned_router", lambda t: moved(t, "Tcp.RetransSegs") == 9),
    Near(
        "tcp-retrans-high",
        "loss probes and spurious timeouts",
        "busy_proxy",
        lambda t: moved(t, "TcpExt.TCPSpuriousRTOs") + moved(t, "TcpExt.TCPLossProbes") == 90,
    ),
    Near(
        "tcp-somaxconn-caps-app",
        "a program that asks for less",
        "busy_proxy",
        lambda t: sockets(t, state=10, sport=80, wqueue=511) and sysctl(t, "net.core.somaxconn") == "4096",
    ),
    Near(
        "tcp-syncookies-sent",
        "bursts on a public address",
        "busy_proxy",
        lambda t: total(t, "TcpExt.SyncookiesSent") == 900,
    ),
    Near(
        "tcp-timewait-bucket-overflow",
        "many of them",
        "busy_proxy",
        lambda t: sockets(t, state=6) == 300,
    ),
    Near("tcp-zero-window", "a consumer that pauses", "busy_proxy", lambda t: sockets(t, timer=4, retrans=2)),
    Near(
        "icmp-ratelimit-masks",
        "a flood asks for more answers than there may be",
        "transit_router",
        lambda t: moved(t, "Icmp.OutRateLimitGlobal") == 3,
    ),
    Near("ip-in-noroutes", "noise", "transit_router", lambda t: moved(t, "Ip.InNoRoutes") == 3),
    Near(
        "tcp-pmtud-probing-off",
        "a network in which segments are clamped",
        "busy_proxy",
        lambda t: sysctl(t, "net.ipv4.tcp_mtu_probing") == "0",
    ),
    Near("udp-nolisten-icmp", "scans", "transit_router", lambda t: moved(t, "Udp.NoPorts") == 3),
)
