"""Names of lightweight tunnels (include/uapi/linux/lwtunnel.h), as ``ip route`` spells them; and bpf's programs."""

from netdiag.model.text import kernel_text
from netdiag.sources.netlink.attributes import Buffer, walk

ENCAP_NAMES = {
    1: "mpls",
    2: "ip",
    3: "ila",
    4: "ip6",
    5: "seg6",
    6: "bpf",
    7: "seg6local",
    8: "rpl",
    9: "ioam6",
    10: "xfrm",
}


def encap_name(kind: int) -> str | None:
    """The name of a LWTUNNEL_ENCAP_* number; the number itself where it has no name here; None for no tunnel (0)."""
    return ENCAP_NAMES.get(kind, str(kind)) if kind else None


LWT_BPF = {1: "in", 2: "out", 3: "xmit"}
LWT_BPF_PROG_NAME = 2


def lwt_programs(payload: Buffer) -> tuple[str, ...]:
    """Place and name of each program of a tunnel of kind bpf (net/core/lwt_bpf.c tells no id). Raises DecodeError."""
    found = []
    for kind, start, end in walk(payload):
        for inner, first, last in walk(payload, start, end):
            if inner == LWT_BPF_PROG_NAME and kind in LWT_BPF:
                found.append(f"{LWT_BPF[kind]} {kernel_text(bytes(payload[first:last]))}")
    return tuple(found)
