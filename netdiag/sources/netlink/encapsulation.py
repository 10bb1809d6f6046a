"""Names of lightweight tunnels (include/uapi/linux/lwtunnel.h), as ``ip route`` spells them."""

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
