"""Sockets as /proc/net tells them: what is left where sock_diag's modules are not loaded.

Formats: net/ipv4/tcp_ipv4.c get_tcp4_sock(), net/ipv4/udp.c udp4_format_sock(), net/ipv6, net/ipv4/raw.c,
net/packet/af_packet.c packet_seq_show(), net/unix/af_unix.c unix_seq_show(). Addresses are words in the byte order of
the host. Lines of another shape are left out; nothing can fail.
"""

import ipaddress

from netdiag.model.protocols import IPPROTO_TCP
from netdiag.model.sockets import AF_INET, AF_INET6, AF_PACKET, LISTEN

Row = dict[str, int | str]


def _endpoint(word: bytes) -> tuple[str, int]:
    address, _, port = word.partition(b":")
    raw = bytes.fromhex(address.decode("ascii"))
    turned = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
    return str(ipaddress.ip_address(turned)), int(port, 16)


def parse_inet(raw: bytes, family: str, protocol: int) -> list[Row]:
    """/proc/net/{tcp,udp,raw} and their IPv6 kin: rows for model.sockets.sockets_from_rows()."""
    rows: list[Row] = []
    for line in raw.split(b"\n")[1:]:
        words = line.split()
        try:
            src, sport = _endpoint(words[1])
            dst, dport = _endpoint(words[2])
            wqueue, _, rqueue = words[4].partition(b":")
            state = int(words[3], 16)
            row: Row = {
                "family": AF_INET if family == "inet" else AF_INET6,
                "protocol": protocol,
                "state": LISTEN if protocol == IPPROTO_TCP and state == LISTEN else state,
                "timer": int(words[5].partition(b":")[0], 16),
                "retrans": min(int(words[6], 16), 255),
                "src": src,
                "sport": sport,
                "dst": dst,
                "dport": dport,
                "wqueue": int(wqueue, 16),
                "rqueue": int(rqueue, 16),
                "uid": int(words[7]),
                "inode": int(words[9]),
            }
            if protocol != IPPROTO_TCP:
                row["drops"] = int(words[12])
        except (ValueError, IndexError):
            continue
        rows.append(row)
    return rows


def parse_packet(raw: bytes) -> list[Row]:
    """/proc/net/packet: address, references, type, protocol, interface, running, memory, user, inode."""
    rows: list[Row] = []
    for line in raw.split(b"\n")[1:]:
        words = line.split()
        try:
            rows.append(
                {
                    "family": AF_PACKET,
                    "state": 7,
                    "sport": int(words[3], 16),
                    "ifindex": int(words[4]),
                    "rqueue": int(words[6]),
                    "uid": int(words[7]),
                    "inode": int(words[8]),
                }
            )
        except (ValueError, IndexError):
            continue
    return rows


def parse_unix(raw: bytes) -> list[tuple[bytes, int, int]]:
    """Path, inode and unaccepted connections of every listening socket with a path in the file system.

    A listener has __SO_ACCEPTCON set. A connection that nobody has accepted belongs to no file yet: it has the
    listener's path, state SS_CONNECTING and inode 0.
    """
    found: list[tuple[bytes, int]] = []
    waiting: dict[bytes, int] = {}
    for line in raw.split(b"\n")[1:]:
        words = line.split(None, 7)
        if len(words) != 8 or not words[7].startswith(b"/") or not words[6].isdigit():
            continue
        path = words[7].rstrip()
        if words[3] == b"00010000":
            found.append((path, int(words[6])))
        elif words[5] == b"02" and int(words[6]) == 0:
            waiting[path] = waiting.get(path, 0) + 1
    return [(path, inode, waiting.get(path, 0)) for path, inode in sorted(found)]


def parse_netlink(raw: bytes) -> list[tuple[int, int, int]]:
    """Inode, address and drops of every NETLINK_ROUTE socket that is in a multicast group.

    /proc/net/netlink (net/netlink/af_netlink.c netlink_native_seq_show()): sk, protocol, portid, groups, rmem, wmem,
    dump, references, drops, inode. Older kernels have no drops or no inode; such lines are left out.
    """
    found: list[tuple[int, int, int]] = []
    for line in raw.split(b"\n")[1:]:
        words = line.split()
        try:
            if len(words) >= 10 and int(words[1]) == 0 and int(words[3], 16):
                found.append((int(words[9]), int(words[2]), int(words[8])))
        except ValueError:
            continue
    return sorted(found)
