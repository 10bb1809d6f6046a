"""Near misses of the domain bgp-bird."""

from tests.zoo.near import Line, Near, Shown, exported, link, moved, protocols, routes, sockets, some

UP: dict[str, object] = {"proto": "BGP", "bgp_state": "Established"}

LINES: tuple[Line, ...] = (
    Near(
        "bgp-announced-service-down",
        "a service in XDP has no socket",
        "anycast_networks",
        lambda t: (
            exported(t, "up1", net="203.0.113.9/32")
            and not sockets(t, sport=80)
            and some(t.bpf.attachments, hook="xdp")
        ),
    ),
    Near(
        "bgp-announced-service-down",
        "which ports it should have is not known, and nothing listens for all",
        "anycast_networks",
        lambda t: (
            some(t.addresses, local="203.0.113.9")
            and not any(row.src in ("0.0.0.0", "203.0.113.9") for row in t.sockets.rows())
        ),
    ),
    Near(
        "bgp-anycast-missing-announce",
        "drained by hand: the service is here and nobody is told",
        "drained_edge",
        lambda t: protocols(t, name="up1", state="down") and some(t.addresses, local="203.0.113.7"),
    ),
    Near(
        "bgp-bfd-down",
        "BFD on this side alone: down since the session began",
        "anycast_networks",
        lambda t: t.bird.daemons[0].bfd_sessions[0].state == "Down" and protocols(t, **UP, name="up1"),
    ),
    Near(
        "bgp-daemon-dead", "a host without BIRD", "busy_web_server", lambda t: all(row.absent for row in t.bird_sockets)
    ),
    Near(
        "bgp-export-leak",
        "transit: everybody of that AS is given what others told",
        "transit_router",
        lambda t: exported(t, "ix_a", protocol="up1") and exported(t, "ix_b", protocol="up1"),
    ),
    Near(
        "bgp-export-leak",
        "routes reflected inside the AS",
        "route_reflector",
        lambda t: (
            len(protocols(t, **UP, session=lambda text: "internal" in text)) == 2 and exported(t, "c2", protocol="c3")
        ),
    ),
    Near(
        "bgp-export-leak",
        "a default route to a customer",
        "transit_router",
        lambda t: exported(t, "cust1", net="0.0.0.0/0", protocol="up1"),
    ),
    Near(
        "bgp-export-leak",
        "given on by the community that the filter asks for",
        "rtbh_edge",
        lambda t: some(t.bird_routes[0].exports, rtbh=lambda nets: nets),
    ),
    Near(
        "bgp-export-zero",
        "a drained edge",
        "drained_edge",
        lambda t: protocols(t, name="up1", state="down"),
    ),
    Near(
        "bgp-export-zero",
        "a looking glass that gives and takes nothing",
        "anycast_networks",
        lambda t: protocols(t, **UP, channels=lambda all_: all_[0].exported == 0 and all_[0].output_filter == "REJECT"),
    ),
    Near(
        "bgp-exports-unreachable-route",
        "blackholes by which aggregates are made",
        "anycast_networks",
        lambda t: exported(t, "up1", type="blackhole", net="203.0.113.0/24"),
    ),
    Near(
        "bgp-gr-stale",
        "a neighbour restarts within its time",
        "just_booted",
        lambda t: protocols(t, neighbor_graceful_restart=True),
    ),
    Near(
        "bgp-hold-mtu-stall",
        "plain loss on the session's connection",
        "anycast_networks",
        lambda t: sockets(t, dport=179, retrans=2),
    ),
    Near(
        "bgp-hold-timer-expired",
        "maintenance of the neighbour that is over",
        "anycast_networks",
        lambda t: protocols(t, **UP, last_error="Hold timer expired"),
    ),
    Near(
        "bgp-import-zero",
        "an announcer that takes nothing",
        "anycast_networks",
        lambda t: protocols(t, **UP, channels=lambda all_: all_[0].imported == 0 and all_[0].exported),
    ),
    Near(
        "bgp-kernel-export-none",
        "a reflector installs nothing",
        "route_reflector",
        lambda t: protocols(t, **UP, channels=lambda all_: all_[0].imported == 50) and not routes(t, protocol=12),
    ),
    Near(
        "bgp-md5-mismatch",
        "scanners without a key while the sessions stand",
        "anycast_networks",
        lambda t: moved(t, "TcpExt.TCPMD5NotFound") == 5 and protocols(t, **UP),
    ),
    Near(
        "bgp-nexthop-unreachable",
        "null-routed by community",
        "anycast_networks",
        lambda t: some(t.bird_routes[0].unresolved, communities=("65535:666",), best=True),
    ),
    Near("bgp-not-established", "a passive side", "anycast_networks", lambda t: protocols(t, bgp_state="Passive")),
    Near(
        "bgp-not-established",
        "switched off, without an error",
        "anycast_networks",
        lambda t: protocols(t, name="off", state="down", last_error=None),
    ),
    Near(
        "bgp-prefix-limit-hit",
        "action warn: the limit is hit, and every route is there",
        "anycast_networks",
        lambda t: protocols(t, **UP, channels=lambda all_: all_[0].import_limit_hit),
    ),
    Near(
        "bgp-route-announced-no-local-addr",
        "AnyIP",
        "anycast_networks",
        lambda t: exported(t, "up1", net="203.0.113.128/26") and routes(t, dst="203.0.113.128/26", type="local"),
    ),
    Near(
        "bgp-source-addr-mismatch",
        "several addresses towards a neighbour, and it stands",
        "anycast_networks",
        lambda t: len(some(t.addresses, ifindex=link(t, "eth0").ifindex, family="inet")) > 1 and protocols(t, **UP),
    ),
    Near(
        "bgp-ttl-security-half-open",
        "strangers' packets while the sessions stand",
        "anycast_networks",
        lambda t: moved(t, "TcpExt.TCPMinTTLDrop") == 2 and protocols(t, **UP),
    ),
    Near(
        "bgp-krt-file-exists",
        "right after a restart BIRD's own former routes are there",
        "just_booted",
        lambda t: routes(t, protocol=12) and t.bird.daemons[0].recovery_left,
    ),
    Near(
        "bgp-krt-dropped-msgs",
        "messages dropped once, at boot",
        "just_booted",
        lambda t: some(t.socket_owners.route_listeners, drops=50, later_drops=50),
    ),
    Near(
        "bgp-roa-missing",
        "no RPKI at all",
        "transit_router",
        lambda t: protocols(t, **UP) and not protocols(t, proto="RPKI"),
    ),
    Near(
        "bgp-stuck-wait-eor",
        "the first minutes of a graceful restart",
        "just_booted",
        lambda t: t.bird.daemons[0].recovery_channels == 1 and t.bird.daemons[0].recovery_left > 0,
    ),
    Shown("bgp-asym-announce-drift", "a region that is disfavoured announces something of its own", "of its own"),
    Shown("bgp-prefix-announced-nowhere", "retired everywhere", "retired"),
    Shown("bgp-prefix-announced-nowhere", "all hosts are told to be drained", "told that all are drained"),
    Shown("bgp-router-id-dup", "clusters that never meet", "no AS in common"),
)
