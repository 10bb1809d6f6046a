"""eBPF as netdiag reads it, held against bpftool where bpftool knows the thing, else against what the test made."""

import inspect
import json
import os
import re
import signal
from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest

from netdiag.collect import LEAVES_NAMESPACE, collectors
from netdiag.collectors import Collected, Options, bpf, links
from netdiag.collectors.bpf import far_gro, guessed
from netdiag.model.bpf import Bpf, BpfAttachment, BpfMapEntry
from netdiag.model.link import Link
from netdiag.model.namespace import Namespace, Namespaces
from netdiag.model.snapshot import Meta, Snapshot, Tables
from netdiag.render import views
from netdiag.render.tables import Filters, table_text
from netdiag.sources import namespaces
from netdiag.sources.bpf import answer, calls, names
from netdiag.sources.live import LiveSource
from netdiag.sources.protocol import Source
from netdiag.sources.record import RecordingSource
from netdiag.sources.replay import ReplaySource
from tests.collectors import bpfworld
from tests.lab import Host, Lab
from tests.lab import bpfobjects as make

WAYS = [pytest.param(calls.RawCalls, id="raw"), pytest.param(calls.LibraryCalls, id="library")]


def collected(way: Callable[[], calls.Calls] = calls.choose) -> Collected:
    """Inside a host: the table, by one way of asking."""
    answer.calls_of_this_process = way
    return bpf.collect(LiveSource(), Options(interval=0))


def table_of(result: Collected) -> Bpf:
    table = result.tables["bpf"]
    assert isinstance(table, Bpf)
    return table


def bpftool(host: Host, *words: str) -> Any:
    """What ``bpftool -j`` says; names may hold bytes that are no UTF-8."""
    text = host.run("bpftool", "-j", *words).stdout.encode("utf-8", "surrogateescape").decode("latin-1")
    return json.loads(re.sub(r'\["id":(\d+)\]', r'[{"id":\1}]', text))  # so bpftool 7.1 prints flow dissectors


def lasting(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Objects that were there all the time: ids are the machine's, and others come and go."""
    later = {row["id"] for row in after}
    return {row["id"]: row for row in before if row["id"] in later}


@pytest.mark.parametrize("way", WAYS)
def test_programs_maps_and_links_are_those_of_bpftool(lab: Lab, way: Callable[[], calls.Calls]) -> None:
    host = bpfworld.build(lab)
    kinds = ("prog", "map", "link")
    before = {kind: bpftool(host, kind) for kind in kinds}
    result = host.call(lambda: collected(way))
    after = {kind: bpftool(host, kind) for kind in kinds}
    assert (result.status, result.detail) == ("ok", "")
    table = table_of(result)
    programs = {row.id: row for row in table.programs}
    expected = lasting(before["prog"], after["prog"])
    assert len(expected) >= 25
    for number, row in expected.items():
        ours = programs[number]
        assert (ours.tag, list(ours.map_ids), ours.gpl) == (row["tag"], row.get("map_ids", []), row["gpl_compatible"])
        assert (ours.instructions_bytes, ours.jited) == (row["bytes_xlated"], row["jited"])
        assert ours.type in (row["type"], "netfilter")  # which this bpftool does not know
        if "\xff" not in row["name"]:
            assert (ours.function or ours.name) == row["name"]
    maps = {row.id: row for row in table.maps}
    for number, row in lasting(before["map"], after["map"]).items():
        one = maps[number]
        assert (one.type, one.name, one.max_entries) == (row["type"], row["name"], row["max_entries"])
        assert (one.key_size, one.value_size, one.flags) == (row["bytes_key"], row["bytes_value"], row["flags"])
        assert one.frozen == bool(row["frozen"])
    made = {row.id: row for row in table.links}
    expected = lasting(before["link"], after["link"])
    assert len(expected) >= 15
    for number, row in expected.items():
        assert made[number].prog_id == row["prog_id"]
        kind = row["type"]
        assert made[number].type == (names.LINKS[kind] if isinstance(kind, int) else kind)
        for field in ("ifindex", "cgroup_id"):
            if field in row:
                assert getattr(made[number], field) == row[field]
    assert len(table.attachments) >= 30


def test_every_attach_point_is_that_of_bpftool(lab: Lab) -> None:
    host = bpfworld.build(lab)
    table = table_of(host.call(collected))
    devices = {int(row["ifindex"]): row["ifname"] for row in json.loads(host.run("ip", "-j", "link").stdout)}
    (net,) = bpftool(host, "net")
    ours = sorted((row.ifindex, row.mode, row.prog_id) for row in table.attachments if row.hook == "xdp")
    modes = {"driver": "native", "generic": "generic", "offload": "offload"}
    assert ours == sorted((row["ifindex"], modes[row["mode"]], row["id"]) for row in net["xdp"])
    filters = [row for row in table.attachments if row.hook == "tc"]
    sides = sorted((row["devname"], "ingress" in row["kind"], row["id"]) for row in net["tc"])
    assert sorted((devices[row.ifindex or 0], row.direction == "ingress", row.prog_id) for row in filters) == sides
    shared = [row for row in filters if row.block == 5]
    assert [devices[row.ifindex or 0] for row in shared] == ["v4", "v5"] or len(shared) == 2
    (dissector,) = net["flow_dissector"]
    assert [row.prog_id for row in table.attachments if row.hook == "flow_dissector"] == [dissector["id"]]
    for words, field in ((("cgroup", "tree"), "own"), (("cgroup", "tree", "/sys/fs/cgroup", "effective"), "effective")):
        tree = bpftool(host, *words)
        theirs = sorted((row["cgroup"], one["attach_type"], one["id"]) for row in tree for one in row["programs"])
        if field == "own":
            own = [row for row in table.attachments if row.hook == "cgroup"]
            assert sorted((row.cgroup, row.attach_type, row.prog_id) for row in own) == theirs
            assert len(own) == 6 and not any(row.cgroup_hidden for row in own)
        else:
            said = {(row.cgroup, row.attach_type): row.effective for row in table.cgroups}
            folders = {row["cgroup"] for row in tree}
            assert sorted((c, h, n) for c, h, n in _effective(said, folders)) == theirs
    ours = {row.prog_id for row in own}
    seen = [row for row in table_of(lab.host("edge2").call(collected)).attachments if row.hook == "cgroup"]
    theirs = [row for row in seen if row.prog_id in ours]
    assert len(theirs) == 6 and all(row.cgroup_hidden for row in theirs), "another host's processes are in them"


def _effective(said: dict[tuple[str, str], tuple[int, ...]], folders: set[str]) -> list[tuple[str, str, int]]:
    """Spelt out for every cgroup: where nothing is said, it is as in the one above."""
    rows = []
    for hook in {hook for _, hook in said}:
        for folder in folders:
            above = folder
            while (above, hook) not in said and above != "/":
                above = os.path.dirname(above)
            rows += [(folder, hook, number) for number in said.get((above, hook), ())]
    return rows


def test_what_bpftool_does_not_know_is_what_was_made(lab: Lab) -> None:
    host = bpfworld.build(lab)
    table = table_of(host.call(collected))
    devices = {int(row["ifindex"]): row["ifname"] for row in json.loads(host.run("ip", "-j", "link").stdout)}
    programs = {row.id: row for row in table.programs}

    def at(hook: str) -> list[BpfAttachment]:
        return [row for row in table.attachments if row.hook == hook]

    tcx = [(devices[row.ifindex or 0], row.direction, row.position, programs[row.prog_id].name) for row in at("tcx")]
    both = ("ingress", "egress")
    assert sorted(tcx) == sorted(
        [("v0", way, n, f"tcx{n}") for way in both for n in range(3)] + [("v1", way, 0, "tcx0") for way in both]
    )
    assert [row.link_id is None for row in at("tcx") if devices[row.ifindex or 0] == "v1"] == [True, True]
    assert all(row.link_id for row in at("tcx") if devices[row.ifindex or 0] == "v0")
    assert [programs[row.prog_id].name for row in at("sk_lookup")] == ["lookup0", "lookup1"]
    ours = {pin.id for pin in table.pins if pin.kind == "link"}
    found = [(row.pf, row.hooknum, row.priority) for row in at("netfilter") if row.link_id in ours]
    assert found == [(2, 0, -200), (2, 1, 10), (10, 3, 5)]
    assert [row.attach_type for row in at("sockmap")][-2:] == ["sk_skb_stream_parser", "sk_skb_stream_verdict"]
    first = [row for row in at("tc") if devices[row.ifindex or 0] == "v0" and row.direction == "ingress"]
    assert [(row.priority, row.protocol, row.handle, row.direct_action) for row in first] == [
        (10, 0x86DD, 7, True),
        (20, 3, 1, True),
    ]
    by_path = {pin.path: pin for pin in table.pins}
    maps = {row.id: row for row in table.maps}
    assert maps[by_path["/sys/fs/bpf/seen"].id].entries == 7
    lru = maps[by_path["/sys/fs/bpf/kept/lru"].id]
    assert (lru.entries, lru.entries_more) == (1024, True)
    assert maps[by_path["/sys/fs/bpf/kept/frozen"].id].frozen is True
    kept = {name: by_path[f"/sys/fs/bpf/kept/{name}"].id for name in ("devices", "devices_hash", "cpus", "calls")}
    entries = {name: [row for row in table.entries if row.map_id == number] for name, number in kept.items()}
    index = {name: number for number, name in devices.items()}
    assert [(row.key, row.ifindex) for row in entries["devices"]] == [(2, index["v3"])]
    assert [(row.key, row.ifindex) for row in entries["devices_hash"]] == [(77, index["v4"])]
    assert [(row.key, row.qsize) for row in entries["cpus"]] == [(0, 192)]
    assert [(row.key, programs[row.prog_id or 0].name) for row in entries["calls"]] == [(1, "callee")]
    assert set(kept.values()) <= set(table.entries_read)
    long = programs[by_path["/sys/fs/bpf/long"].id]
    assert long.function == "a_function_with_a_name_too_long_for_the_kernel"
    assert programs[by_path["/sys/fs/bpf/xdp1"].id].name == "xdp1\\xff"


@pytest.mark.parametrize("way", WAYS)
def test_every_file_descriptor_is_closed(lab: Lab, way: Callable[[], calls.Calls]) -> None:
    host = bpfworld.build(lab)

    def work() -> tuple[int, int]:
        collected(way)
        before = len(os.listdir("/proc/self/fd"))
        collected(way)
        return before, len(os.listdir("/proc/self/fd"))

    before, after = host.call(work)
    assert before == after


def test_a_process_that_holds_an_object_is_named(lab: Lab) -> None:
    host = lab.host("edge1")

    def hold() -> None:
        make.map_(make.HASH, b"held")
        signal.pause()

    host.fork(hold)
    found = lab.wait(lambda: [row for row in table_of(host.call(collected)).holders if row.kind == "map"])
    titles = {row.id: row.name for row in table_of(host.call(collected)).maps}
    assert "held" in [titles.get(row.id) for row in found]


def test_without_privilege_netlink_still_tells_and_the_capabilities_are_named(lab: Lab) -> None:
    host = bpfworld.build(lab)

    def as_nobody() -> Collected:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        return collected()

    result = host.call(as_nobody)
    assert result.status == "partial"
    assert "CAP_SYS_ADMIN" in result.detail and "CAP_NET_ADMIN" in result.detail
    table = table_of(result)
    hooks = {row.hook for row in table.attachments}
    assert hooks == {"xdp", "tc"}
    assert {"programs", "maps", "links", "tcx", "cgroups"} <= set(table.unread)
    assert all(row.prog_id for row in table.attachments)


def test_a_recording_answers_the_same(lab: Lab) -> None:
    host = bpfworld.build(lab)

    def work() -> tuple[Collected, Collected]:
        recorder = RecordingSource(LiveSource(), "/run/recording")
        first = bpf.collect(recorder.scoped("bpf"), Options(interval=0))
        recorder.finish("0")
        return first, bpf.collect(ReplaySource("/run/recording").scoped("bpf"), Options(interval=0))

    live, replayed = host.call(work)
    assert live == replayed


def test_the_children_may_read_all_of_it_under_seccomp(lab: Lab) -> None:
    host = bpfworld.build(lab)
    shown = host.call(_show)
    assert shown[0] == "ok", shown
    assert shown[1] >= 30


def _show() -> tuple[str, int]:
    from netdiag.collect import collect

    snapshot = collect(LiveSource(), Options(interval=0))
    row = next(row for row in snapshot.coverage if row.collector == "bpf")
    return f"{row.status}{row.detail}", len(snapshot.tables.bpf.attachments)


def test_show_draws_each_device_in_the_order_in_which_a_packet_meets_programs(lab: Lab) -> None:
    host = bpfworld.build(lab)
    table, interfaces = host.call(
        lambda: (table_of(collected()), tuple(links.read_links(LiveSource(), stats=False)[0]))
    )
    meta = Meta(netdiag="0", name="edge1", kernel="6", boot_id=None, netns="1", taken_at="", uptime=1e6)
    snapshot = Snapshot(meta=meta, tables=Tables(links=interfaces, bpf=table), coverage=())
    view = views.view("bpf")
    rows = list(view.rows(snapshot, Filters(dev="v0")))
    assert [(row["direction"], row["step"], row["hook"], row["name"]) for row in rows] == [
        ("ingress", 1, "xdp", "a_function_with_a_name_too_long_for_the_kernel"),
        ("ingress", 2, "tcx", "tcx0"),
        ("ingress", 3, "tcx", "tcx1"),
        ("ingress", 4, "tcx", "tcx2"),
        ("ingress", 5, "tc", "cls0"),
        ("ingress", 6, "tc", "cls0"),
        ("egress", 1, "tcx", "tcx0"),
        ("egress", 2, "tcx", "tcx1"),
        ("egress", 3, "tcx", "tcx2"),
        ("egress", 4, "tc", "cls1"),
    ]
    text = "".join(table_text(view, view.rows(snapshot, Filters()), 80))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "xdp1\\\\xff" in text or "xdp1\\xff" in text


LWT = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("lwt_out") int police(struct __sk_buff *skb) { return BPF_OK; }
char LICENSE[] SEC("license") = "GPL";
"""


def test_programs_of_routes_are_shown(lab: Lab) -> None:
    host, far = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", far, "eth0", a_addresses="192.0.2.1/24", b_addresses="192.0.2.2/24")
    path = lab.bpf(host, "lwt", LWT)
    host.run(
        "ip", "route", "add", "10.77.0.0/24", "encap", "bpf", "out", "obj", path, "section", "lwt_out", "dev", "eth0"
    )
    code, out, err = host.netdiag("show", "bpf", "--json")
    assert code == 0, err
    (row,) = [row for row in json.loads(out) if row["hook"] == "lwt"]
    assert (row["dst"], row["ifname"]) == ("10.77.0.0/24", "eth0")
    assert row["name"].startswith("out ") and "lwt" in row["name"]


class Spaces:
    """A host with a namespace of number 1, whose veth 7 has GRO on; veth 9 of this one has it off."""

    def __init__(self, at: str = "own") -> None:
        self.at = at

    def fetch(self, kind: str, key: str) -> bytes:
        if kind == "namespaces":
            rows = [Namespace(inode=5, netnsid=1, path="/run/netns/a"), Namespace(inode=6, netnsid=2)]
            return msgspec.json.encode(namespaces.Reply(namespaces=Namespaces(namespaces=tuple(rows)), numbers=(1, 2)))
        asked = key.split("\n")[1:]
        told = {"own": {"9": {"gro": 0}}, "scoped": {"7": {"gro": 1}}}[self.at]
        return msgspec.json.encode({number: told[number] for number in asked if number in told})

    def inside(self, inode: int, path: str) -> "Spaces":
        assert (inode, path) == (5, "/run/netns/a")
        return Spaces("inside")

    def scoped(self, name: str) -> "Spaces":
        return Spaces("scoped")


def test_gro_of_far_ends_is_asked_where_they_are() -> None:
    """In this namespace, in one that can be entered, in one that cannot."""
    near = [
        Link(ifindex=1, ifname="a", link=9),
        Link(ifindex=2, ifname="b", link=7, link_netnsid=1),
        Link(ifindex=3, ifname="c", link=7, link_netnsid=2),
        Link(ifindex=4, ifname="d", link=8, link_netnsid=1),
    ]
    assert far_gro(cast(Source, Spaces()), near) == {1: 0, 2: 1}


class Entries:
    """The entries of maps: values by map."""

    def __init__(self, first: int = 0, **values: list[int]) -> None:
        self.rows = [
            BpfMapEntry(map_id=int(name[1:]), key=first + at, ifindex=value)
            for name, given in values.items()
            for at, value in enumerate(given)
        ]

    def fetch(self, name: str, question: str) -> bytes:
        return msgspec.json.encode({"rows": {"entries": self.rows, "read": []}})


def test_hashes_of_interfaces_are_kept_by_what_they_hold() -> None:
    """Most values are interfaces and several are named, or all of two and more are."""
    source = cast(Source, Entries(m1=[7, 8, 99], m2=[7, 7], m3=[7], m4=[7, 7, 99], m5=[7, 8, 98, 99]))
    kept = guessed(source, [1, 2, 3, 4, 5], {7, 8})
    assert {row.map_id for row in kept} == {1, 2}
    for first, half in ((1 << 16, {5, 6}), ((1 << 16) - 1, set[int]())):
        source = cast(Source, Entries(first, m5=[7, 8, 98, 99], m6=[7, 99], m7=[7, 7, 98, 99], m8=[8, 98, 99]))
        assert {row.map_id for row in guessed(source, [5, 6, 7, 8], {7, 8})} == half, "half, where keys are addresses"


def test_who_enters_other_namespaces_shares_its_child_with_nobody() -> None:
    """The tasks that such a child took next would be done there."""
    sources = {name: inspect.getsource(inspect.getmodule(collector)) for name, collector in collectors().items()}  # type: ignore[arg-type]
    entering = {name for name, source in sources.items() if ".inside(" in source}
    assert entering == LEAVES_NAMESPACE
