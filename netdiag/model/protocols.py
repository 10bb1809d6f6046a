"""IP protocol numbers, as packets, sockets and tracked connections carry them, with their names. Pure data.

From IANA's registry of protocol numbers; constants as in linux/in.h, names as in /etc/protocols and nft.
"""

IPPROTO_ICMP, IPPROTO_IGMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_DCCP = 1, 2, 6, 17, 33
IPPROTO_GRE, IPPROTO_ESP, IPPROTO_AH, IPPROTO_ICMPV6, IPPROTO_SCTP, IPPROTO_RAW = 47, 50, 51, 58, 132, 255
BGP_PORT = 179

PROTOCOL_NAMES = {
    IPPROTO_ICMP: "icmp",
    IPPROTO_TCP: "tcp",
    IPPROTO_UDP: "udp",
    IPPROTO_DCCP: "dccp",
    IPPROTO_GRE: "gre",
    IPPROTO_ESP: "esp",
    IPPROTO_AH: "ah",
    IPPROTO_ICMPV6: "icmpv6",
    IPPROTO_SCTP: "sctp",
}
PROTOCOLS = {name: number for number, name in PROTOCOL_NAMES.items()} | {"ipv6-icmp": IPPROTO_ICMPV6}
"""Numbers by name; ICMPv6 has two."""
