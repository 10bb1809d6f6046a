"""The one text type for strings that somebody else chose: interface names, aliases, protocol names, BGP messages.

The kernel lets root put any byte but NUL and "/" into an interface name, and every byte into an alias. Such bytes are
decoded here, once, at the parser: valid UTF-8 is kept as it is (control characters too: escaping belongs to the sink,
see netdiag.render.escape), any other byte becomes a visible ``\\xNN``. Nothing can fail.
"""


def kernel_text(raw: bytes | bytearray | memoryview) -> str:
    """Decode bytes from the kernel or a daemon, up to the first NUL.

    The result always encodes to UTF-8 and JSON: it never holds a lone surrogate.
    """
    head, _, _ = bytes(raw).partition(b"\0")
    return head.decode("utf-8", errors="backslashreplace")
