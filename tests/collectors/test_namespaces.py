"""Reachable namespaces on a real kernel: names, numbers, and what keeps each alive."""

import os
from typing import Any

from netdiag.collect import Options
from netdiag.collectors import namespaces
from netdiag.sources.live import LiveSource
from tests.lab import Host, Lab


def read(host: Host) -> Any:
    """Tables, status and detail, read inside."""

    def inside() -> Any:
        collected = namespaces.collect(LiveSource(), Options())
        return collected.tables, collected.status, collected.detail

    return host.call(inside)


def test_what_keeps_each_alive(lab: Lab) -> None:
    host = lab.host("node1")
    host.sh("for n in a b c; do ip netns add $n; done; ip link add v0 type veth peer name v1 netns a")
    host.sh("touch /run/netns/stale; ip -n a link add w0 type veth peer name w1")
    host.spawn("ip", "netns", "exec", "b", "sleep", "100")

    def keep() -> None:
        os.set_inheritable(os.open("/run/netns/c", os.O_RDONLY), True)
        os.execvp("sleep", ["sleep", "100"])

    pid = host.fork(keep)
    lab.wait(lambda: host.run("pgrep", "-fxc", "sleep 100", check=False).stdout.strip() == "2", 5, "both sleep")
    host.run("ip", "netns", "del", "c")
    tables, status, detail = read(host)
    assert (status, detail) == ("ok", "")
    rows = {row.name: row for row in tables["namespaces"].namespaces}
    own = next(row for row in rows.values() if row.own)
    assert own.held_by == "process"
    assert (rows["a"].held_by, rows["a"].processes, rows["a"].links) == ("mount", 0, 4)
    assert (rows["b"].held_by, rows["b"].comm, rows["b"].links) == ("process", "sleep", 1)
    (nameless,) = [row for row in rows.values() if not row.own and not row.names]
    assert (nameless.held_by, [holder.comm for holder in nameless.holders]) == ("fd", ["sleep"])
    assert tables["namespaces"].stale_names == ("stale",)
    assert [(row.netnsid, row.name, row.inode) for row in tables["netns_ids"]] == [(0, "a", rows["a"].inode)]
    host.end(pid)


def test_the_reader_stays_where_it_was(lab: Lab) -> None:
    host = lab.host("node1")
    host.sh("for n in $(seq 20); do ip netns add n$n; done")

    def inside() -> bool:
        before = os.readlink("/proc/self/ns/net")
        namespaces.collect(LiveSource(), Options())
        return before == os.readlink("/proc/self/ns/net")

    assert host.call(inside)
    code, out, _ = host.netdiag("show", "namespaces", "--json")
    assert code == 0
    assert out.count('"held_by":"mount"') == 20
