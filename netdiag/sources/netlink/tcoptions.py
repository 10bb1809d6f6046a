"""TCA_OPTIONS of the queueing disciplines that people configure, in the spelling of ``tc -json``.

Structures from include/uapi/linux/pkt_sched.h. Rates are bytes per second. The kernel tells times of token buckets in
ticks of 64 ns (include/net/pkt_sched.h, PSCHED_SHIFT): bytes of burst are rate times ticks. A kind without a reader has
no options here. Payloads that are too short raise DecodeError or struct.error, which the caller counts.
"""

from collections.abc import Callable, Mapping
from struct import unpack_from
from typing import Any

from netdiag.sources.netlink.attributes import Buffer, DecodeError, u8, u32, u64, walk

TICK = 64e-9
"""Seconds."""
U32_MAX = 0xFFFFFFFF
Options = dict[str, Any]
_Numbers = Mapping[int, tuple[str, Callable[[Buffer], int]]]


def _inside(payload: Buffer, start: int = 0) -> dict[int, Buffer]:
    return {kind: payload[first:stop] for kind, first, stop in walk(payload, start)}


def _sized(payload: Buffer | None, size: int) -> Buffer:
    if payload is None or len(payload) < size:
        raise DecodeError("an option that is missing or cut short")
    return payload


def _rate(payload: Buffer, offset: int, wide: Buffer | None) -> int:
    """struct tc_ratespec has 32 bits for the rate, at byte 8; above that it stands in an attribute of its own."""
    narrow: int = unpack_from("=I", payload, offset + 8)[0]
    return u64(wide) if wide is not None and narrow == U32_MAX else narrow


def _table(numbers: _Numbers) -> Callable[[Buffer], Options]:
    def read(payload: Buffer) -> Options:
        found = _inside(payload)
        return {name: form(found[kind]) for kind, (name, form) in numbers.items() if kind in found}

    return read


def fifo(payload: Buffer) -> Options:
    """pfifo and bfifo: struct tc_fifo_qopt; packets and bytes."""
    return {"limit": u32(payload)}


def prio(payload: Buffer) -> Options:
    """prio and pfifo_fast: struct tc_prio_qopt."""
    bands, *priomap = unpack_from("=i16B", _sized(payload, 20))
    return {"bands": bands, "priomap": list(priomap)}


def tbf(payload: Buffer) -> Options:
    """struct tc_tbf_qopt: two rates of 12 bytes, limit, buffer, mtu."""
    found = _inside(payload)
    parms = _sized(found.get(1), 36)
    rate, peakrate = _rate(parms, 0, found.get(4)), _rate(parms, 12, found.get(5))
    limit, buffer, mtu = unpack_from("=III", parms, 24)
    options = {"rate": rate, "burst": int(rate * buffer * TICK), "limit": limit}
    return options | ({"peakrate": peakrate, "minburst": int(peakrate * mtu * TICK)} if peakrate else {})


def htb(payload: Buffer) -> Options:
    """struct tc_htb_glob; ``default`` is the minor number of a class, as hexadecimal text."""
    found = _inside(payload)
    _, r2q, default, _, direct = unpack_from("=5I", _sized(found.get(2), 20))
    options: Options = {"r2q": r2q, "default": f"{default:#x}", "direct_packets_stat": direct}
    return options | ({"direct_qlen": u32(found[5])} if 5 in found else {})


def htb_class(payload: Buffer) -> Options:
    """struct tc_htb_opt."""
    found = _inside(payload)
    parms = _sized(found.get(1), 44)
    rate, ceil = _rate(parms, 0, found.get(6)), _rate(parms, 12, found.get(7))
    buffer, cbuffer, quantum, level, band = unpack_from("=5I", parms, 24)
    options = {"rate": rate, "ceil": ceil, "burst": int(rate * buffer * TICK), "cburst": int(ceil * cbuffer * TICK)}
    return options | ({"level": level} if level else {"prio": band, "quantum": quantum})


def netem(payload: Buffer) -> Options:
    """struct tc_netem_qopt, then attributes; ``loss`` is a part of 1, delay and jitter are seconds."""
    _, limit, loss, gap, duplicate, _ = unpack_from("=6I", _sized(payload, 24))
    found = _inside(payload, 24)
    options: Options = {"limit": limit}
    for name, number in (("delay", 10), ("jitter", 11)):
        if number in found and (ns := u64(found[number])):
            options[name] = ns / 1e9
    for name, part in (("loss", loss), ("duplicate", duplicate)):
        if part:
            options[name] = round(part / U32_MAX, 6)
    if gap:
        options["gap"] = gap
    for name, number in (("reorder", 3), ("corrupt", 4)):
        if number in found and (part := u32(found[number][:4])):
            options[name] = round(part / U32_MAX, 6)
    if 8 in found and (rate := u32(found[8])):
        options["rate"] = u64(found[9]) if 9 in found else rate
    return options


def sfq(payload: Buffer) -> Options:
    """struct tc_sfq_qopt."""
    quantum, perturb, limit, divisor, flows = unpack_from("=IiIII", _sized(payload, 20))
    options = {"limit": limit, "quantum": quantum, "depth": flows, "divisor": divisor}
    return options | ({"perturb": perturb} if perturb else {})


QDISCS: dict[str, Callable[[Buffer], Options]] = {
    **dict.fromkeys(("pfifo", "bfifo", "pfifo_head_drop"), fifo),
    **dict.fromkeys(("prio", "pfifo_fast"), prio),
    "tbf": tbf,
    "htb": htb,
    "netem": netem,
    "sfq": sfq,
    "fq_codel": _table(
        {
            2: ("limit", u32),
            5: ("flows", u32),
            6: ("quantum", u32),
            1: ("target", u32),
            3: ("interval", u32),
            7: ("ce_threshold", u32),
            9: ("memory_limit", u32),
            4: ("ecn", u32),
            8: ("drop_batch", u32),
        }
    ),
    "codel": _table({2: ("limit", u32), 1: ("target", u32), 3: ("interval", u32), 4: ("ecn", u32)}),
    "fq": _table(
        {
            1: ("limit", u32),
            2: ("flow_limit", u32),
            3: ("quantum", u32),
            4: ("initial_quantum", u32),
            7: ("maxrate", u32),
            14: ("horizon", u32),
            15: ("horizon_drop", u8),
        }
    ),
    "cake": _table({2: ("bandwidth", u64), 11: ("rtt", u32)}),
}
"""By kind."""
CLASSES: dict[str, Callable[[Buffer], Options]] = {"htb": htb_class}
"""By kind of the qdisc."""
