"""The programs' bytes, as small as they come."""

import ipaddress
import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from struct import pack
from typing import Any

import jsonschema
import msgspec

from netdiag.index.view import HostIndex
from netdiag.model.trace import TraceEvent, TraceReport, TraceRow
from netdiag.path.host import PathHost
from netdiag.path.traced import decides, explained, wanted
from netdiag.render.json import pretty
from netdiag.render.trace import render_event, render_summary
from netdiag.rules.build import HostBuilder
from netdiag.schema import published
from netdiag.sources.bpf.btf import enumerators
from netdiag.trace.events import EVENT, WANTED, Decoder, Wanted
from netdiag.trace.reasons import Names

ROOT = Path(__file__).resolve().parents[2]
NAMES = Names(
    {2: "SKB_DROP_REASON_NOT_SPECIFIED", 6: "SKB_DROP_REASON_NETFILTER_DROP"},
    lambda: [(0x1000, "ip_rcv"), (0x2000, "nf")],
)


def record(**said: Any) -> bytes:
    """struct event, with what is said."""
    numbers = [
        said.get(name, 0) for name in ("at", "location", "skb", "reason", "netns", "ifindex", "iif", "len", "mark")
    ]
    more = said.get("number", (0, 0, 0, 0))
    src, dst = (ipaddress.ip_address(said.get(name, "0.0.0.0")).packed for name in ("src", "dst"))
    rest = [said.get(name, 0) for name in ("sport", "dport", "protocol", "version", "l4", "flags", "kind")]
    return EVENT.pack(*numbers, *more, src, dst, *rest, said.get("ifname", b""))


def test_a_dropped_packet() -> None:
    octets = record(
        at=5_000, location=0x2010, skb=77, reason=6, netns=1, ifindex=2, iif=3, len=60, mark=7, src="192.0.2.1",
        dst="192.0.2.2", sport=1000, dport=80, protocol=0x800, version=4, l4=6, flags=0x12, ifname=b"eth0\0junk",
    )  # fmt: skip
    event = Decoder("drops", NAMES).event(octets)
    assert event == TraceEvent(
        at=0.0, what="dropped", reason="NETFILTER_DROP", location="nf+0x10", ifname="eth0", ifindex=2, iif=3, netns=1,
        family="inet", src="192.0.2.1", dst="192.0.2.2", proto="tcp", sport=1000, dport=80, flags="SA", length=60,
        mark=7, packet=1,
    )  # fmt: skip


def test_a_buffer_that_was_given_back_is_another_packet_next_time() -> None:
    decoder = Decoder("packet", NAMES)
    seen = [decoder.event(record(at=at, skb=9, kind=kind, version=6)) for at, kind in ((1, 0), (2, 1), (3, 6), (4, 0))]
    assert [(event.what, event.packet) for event in seen if event] == [
        ("received", 1), ("queued", 1), ("dropped", 1), ("received", 2),
    ]  # fmt: skip


def test_a_segment_that_is_sent_again() -> None:
    octets = record(reason=2, kind=4, version=6, src="2001:db8::1", dst="2001:db8::2", l4=6, number=(10, 1500, 3, 1))
    event = Decoder("retransmits", NAMES).event(octets)
    assert event is not None
    assert (event.what, event.reason, event.state) == ("retransmitted", "loss", "syn-sent")
    assert (event.cwnd, event.srtt_us, event.retransmits, event.packet) == (10, 1500, 3, None)
    assert Decoder("retransmits", NAMES).event(octets[:-1]) is None


def test_names_that_are_not_known() -> None:
    assert NAMES.reason(99) == "99"
    assert NAMES.reason(0x30005) == "subsystem 3 reason 5"
    assert (NAMES.function(0), NAMES.function(0x10), NAMES.function(0x1004)) == (None, None, "ip_rcv+0x4")


def test_what_is_asked_for() -> None:
    asked = Wanted(netns=5, ifindex=2, address="192.0.2.1", port=53, protocol=17, events=9)
    assert WANTED.unpack(asked.octets()) == (5, 2, b"\xc0\0\2\1" + bytes(12), 53, 4, 17, 9)
    assert WANTED.unpack(Wanted(family="inet6").octets())[4] == 6


def test_an_enum_out_of_btf() -> None:
    strings = b"\0colour\0RED\0BLUE\0"
    types = pack("=III", 0, 1 << 24, 4) + pack("=I", 32) + pack("=III", 1, 6 << 24 | 2, 4)
    types += pack("=Ii", 8, 0) + pack("=Ii", 12, -3)
    header = pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    assert enumerators(header + types + strings, "colour") == {0: "RED", -3: "BLUE"}
    assert enumerators(header + types + strings, "shape") == {}
    assert enumerators(header[:10], "colour") == enumerators(b"", "colour") == {}


def dropping() -> PathHost:
    host = HostBuilder().link("eth0").address("eth0", "192.0.2.2/24").route("198.51.100.0/24", type="blackhole")
    return PathHost(HostIndex(host.build()))


def report(reason: str = "NOT_SPECIFIED", **fields: Any) -> TraceReport:
    event = TraceEvent(
        at=0.5, what="dropped", reason=reason, family="inet", src="192.0.2.2", dst="198.51.100.1", proto="udp",
        sport=1, dport=2, ifname="eth0", location="nf+0x1", length=60,
    )  # fmt: skip
    row = TraceRow(
        what="dropped", reason=reason, location="nf+0x1", packets=3, sample=msgspec.structs.replace(event, **fields)
    )
    return TraceReport(
        question="drops", seconds=1.0, packets=3, untold=2, missing=("queued",), rows=(row,), events=(event,)
    )


def test_the_walk_says_what_decides() -> None:
    assert wanted(report()) and not wanted(report("NO_SOCKET"))
    said = explained(report(), dropping()).rows[0]
    assert said.decided_by == "table main: blackhole 198.51.100.0/24 proto boot"
    assert decides(report(dst="192.0.2.2").rows[0].sample or TraceEvent(at=0, what=""), dropping()) is None


def test_as_text_and_as_published() -> None:
    told = explained(report(), dropping())
    text = render_summary(told, color=False, width=100)
    assert text.splitlines()[0] == "3 packets dropped in every namespace in 1 s"
    assert "       3 NOT_SPECIFIED at nf+0x1" in text
    assert "decided by: table main: blackhole" in text
    assert "2 of them were counted, but not told" in text and "does not tell of: queued" in text
    line = render_event(told.events[0], color=False, width=100)
    assert "dropped NOT_SPECIFIED dev eth0 udp 192.0.2.2:1 > 198.51.100.1:2 length 60 at nf+0x1" in line
    document = json.loads(pretty(told))
    assert list(jsonschema.Draft202012Validator(published("netdiag.trace-1")).iter_errors(document)) == []


def test_objects_are_what_their_sources_make(tmp_path: Path) -> None:
    """make -C bpf gives, byte for byte, what is kept."""
    assert shutil.which("clang"), "the tests install it"
    subprocess.run(["make", "-s", "-C", str(ROOT / "bpf"), f"OUT={tmp_path}"], check=True, capture_output=True)
    made = {path.name: path.read_bytes() for path in tmp_path.glob("*.o")}
    kept = files("netdiag.trace").joinpath("objects")
    assert sorted(made) == ["drops.bpf.o", "packet.bpf.o", "retransmits.bpf.o"]
    assert [name for name, octets in made.items() if kept.joinpath(name).read_bytes() != octets] == []
