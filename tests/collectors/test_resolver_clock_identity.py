"""Resolver, clock and identity: the parsers on text, and what a lab host says."""

import hashlib
import json
from typing import cast

import pytest

from netdiag.collectors import Options, clock, identity, resolver
from netdiag.collectors.resolver import (
    parse_dnsmasq,
    parse_hosts_line,
    parse_link,
    parse_resolv,
    parse_resolved,
    parse_unbound,
)
from netdiag.model.host import Forwarder
from netdiag.sources.live import LiveSource
from netdiag.sources.protocol import Source, Unreadable
from netdiag.sources.settings import told
from tests.lab import Lab

RESOLV = """# made by hand
search old.example
nameserver 192.0.2.1
 nameserver 192.0.2.9
nameserver fe80::1%eth0
nameserver resolver.example
options timeout:1 ndots:5
search a.example b.example
;nameserver 192.0.2.2
nameserver\t2001:DB8::1 trailing
"""


def places(found: list[Forwarder]) -> list[tuple[str, int, str | None]]:
    return [(row.address, row.port, row.domain) for row in found]


def test_resolv_conf() -> None:
    nameservers, search, options = parse_resolv(RESOLV)
    assert nameservers == ("192.0.2.1", "fe80::1%eth0", "2001:db8::1")
    assert search == ("a.example", "b.example")
    assert options == ("timeout:1", "ndots:5")


def test_hosts_line() -> None:
    assert parse_hosts_line("passwd: files\n#hosts: dns\nhosts:  files dns # x\n") == ("files", "dns")
    assert parse_hosts_line("passwd: files\n") is None


def test_dnsmasq() -> None:
    text = "#server=192.0.2.7\nserver=127.0.0.1#8601\nserver=/consul/lan/192.0.2.3\nserver=2001:db8::5#53@eth0\n"
    assert places(parse_dnsmasq(text, "f")) == [
        ("127.0.0.1", 8601, None),
        ("192.0.2.3", 53, "consul"),
        ("192.0.2.3", 53, "lan"),
        ("2001:db8::5", 53, None),
    ]


def test_what_the_c_library_takes_for_a_nameserver() -> None:
    """Tried with glibc 2.36: what it does not take it leaves out, and asks 127.0.0.1 where nothing is left."""
    for word, address in (
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.001", "192.0.2.1"),
        ("192.0.2.011", "192.0.2.9"),
        ("192.0.2", "192.0.0.2"),
        ("3221225985", "192.0.2.1"),
        ("0xC0000201", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("192.0.2.256", None),
        ("192.0.2.1:53", None),
        ("192.0.2.1,192.0.2.2", None),
        ("192.0.2.1\r", None),
        ("ns1.example", None),
        ("", None),
    ):
        assert resolver.nameserver_of(word) == address, word
    text = "nameserver 192.0.2.1\r\nnameserver\t192.0.2.2 \r\nnameserver 192.0.2.3:53\nnameserver\n nameserver x\n"
    assert resolver.refused(text) == ("192.0.2.1\r", "192.0.2.3:53", "")


def test_resolved() -> None:
    text = "DNS=127.0.0.1:8600 [2001:db8::1]:5353 192.0.2.1#dns.example\nDomains=~consul\nFallbackDNS=192.0.2.9\n"
    assert places(parse_resolved(text, "f")) == [
        ("127.0.0.1", 8600, "consul"),
        ("2001:db8::1", 5353, "consul"),
        ("192.0.2.1", 53, "consul"),
    ]
    assert places(parse_resolved("DNS=192.0.2.1\nDNS=\nDNS=2001:db8::1\n", "f")) == [("2001:db8::1", 53, None)]


def test_a_link_of_resolved() -> None:
    text = "# made by resolved\nLLMNR=yes\nSERVERS=127.0.0.1:8600 2001:db8::1%lo#dns.example\nDOMAINS=~consul lan ~.\n"
    assert places(parse_link(text, "f")) == [("127.0.0.1", 8600, "consul"), ("2001:db8::1%lo", 53, "consul")]
    networkd = "ADMIN_STATE=configured\nDNS=127.0.0.1:8600\nDOMAINS=lan\nROUTE_DOMAINS=consul\n"
    assert places(parse_link(networkd, "f")) == [("127.0.0.1", 8600, "consul")]
    assert parse_link("DNS=192.0.2.1\nDOMAINS=lan\n", "f") == []


def test_domains_of_one_file_belong_to_the_servers_of_another() -> None:
    found = resolver.read_forwarders(cast(Source, Files("Domains=~consul")))
    assert places(found) == [("192.0.2.1", 53, None), ("192.0.2.1", 53, "consul")]


class Files:
    """Two files of resolved."""

    def __init__(self, drop_in: str) -> None:
        self.texts = {
            "/etc/systemd/resolved.conf": "[Resolve]\nDNS=192.0.2.1\n",
            "/etc/systemd/resolved.conf.d/local.conf": f"[Resolve]\n{drop_in}\n",
        }

    def listdir(self, path: str) -> tuple[str, ...]:
        return ("local.conf",) if path == "/etc/systemd/resolved.conf.d" else ()

    def read_many(self, paths: list[str]) -> dict[str, bytes]:
        return {path: self.texts[path].encode() for path in paths if path in self.texts}

    def readlink(self, path: str) -> str:
        raise Unreadable("absent", path)

    def fetch(self, kind: str, key: str) -> bytes:
        raise Unreadable("absent", key)


@pytest.mark.parametrize(
    ("line", "there"),
    [
        ("dnsmasq -k -C /etc/mine.conf", [("192.0.2.7", 53, "/etc/mine.conf"), ("192.0.2.99", 53, "/etc/resolv.conf")]),
        ("dnsmasq -C/etc/mine.conf -R", [("192.0.2.7", 53, "/etc/mine.conf")]),
        ("dnsmasq --conf-file=/etc/mine.conf -R", [("192.0.2.7", 53, "/etc/mine.conf")]),
        ("dnsmasq --no-resolv --server=127.0.0.1#5300", [("192.0.2.8", 53, "/etc/dnsmasq.conf"),
                                                         ("127.0.0.1", 5300, "/proc/7/cmdline")]),
        ("dnsmasq -C /dev/null -S 127.0.0.1 -R -u root", [("127.0.0.1", 53, "/proc/7/cmdline")]),
        ("dnsmasq -C /dev/null --server 127.0.0.1 -R", [("127.0.0.1", 53, "/proc/7/cmdline")]),
        ("dnsmasq -C /dev/null -7 /etc/own,.bak -R", [("192.0.2.9", 53, "/etc/own/a")]),
        ("dnsmasq -C /dev/null -r /run/up", [("198.51.100.1", 53, "/run/up")]),
        ("dnsmasq -C /dev/null -r /run/up --no-resolv", []),
        ("dnsmasq -C /etc/other.conf", [("198.51.100.1", 53, "/run/up")]),
        ("dnsmasq -C /dev/null --enable-dbus=org.x -S 127.0.0.1 -S /lan/192.0.2.1",
         [("192.0.2.1", 53, "/proc/7/cmdline")]),
        ("dnsmasq -R -7", [("192.0.2.8", 53, "/etc/dnsmasq.conf")]),
    ],
)  # fmt: skip
def test_a_dnsmasq_that_runs_here_says_which_files(line: str, there: list[tuple[str, int, str]]) -> None:
    for root, namespaces in (("", {}), ("/proc/7/root", {"/proc/7/ns/mnt": "mnt:[2]"})):
        rows = resolver.read_forwarders(cast(Source, Running({7: line}, root, namespaces)))
        expected = [(a, p, path if path.startswith("/proc") else root + path) for a, p, path in there]
        assert [(row.address, row.port, row.source) for row in rows] == expected


def test_several_that_differ_or_one_of_another_namespace_leave_the_usual_files() -> None:
    usual = [("192.0.2.8", 53, "/etc/dnsmasq.conf")]
    one, other = "dnsmasq -R -C /etc/mine.conf", "dnsmasq -R -C /dev/null"
    for lines, namespaces, there in (
        ({7: one, 8: other}, {}, usual),
        ({7: one, 8: one}, {}, [("192.0.2.7", 53, "/etc/mine.conf")]),
        ({7: one}, {"/proc/7/ns/net": "net:[2]"}, usual),
        ({7: one, 8: other}, {"/proc/8/ns/net": "net:[2]"}, [("192.0.2.7", 53, "/etc/mine.conf")]),
    ):
        rows = resolver.read_forwarders(cast(Source, Running(lines, "", namespaces)))
        assert [(row.address, row.port, row.source) for row in rows] == there


@pytest.mark.parametrize(
    ("line", "path", "text", "there"),
    [
        ("coredns", "/etc/coredns/Corefile", ". {\n forward . 192.0.2.1\n}",
         [("192.0.2.1", 53, "/etc/coredns/Corefile")]),
        ("coredns -conf /run/c", "/run/c", ". {\n forward . 192.0.2.1:54\n}", [("192.0.2.1", 54, "/run/c")]),
        ("coredns --conf=/run/c", "/run/c", ". {\n forward . 192.0.2.1\n}", [("192.0.2.1", 53, "/run/c")]),
        ("coredns -conf /run/c", "/run/c", ". {\n forward . /etc/resolv.conf\n}",
         [("127.0.0.1", 53, "/etc/resolv.conf"), ("192.0.2.99", 53, "/etc/resolv.conf")]),
        ("coredns -conf /run/c", "/etc/coredns/Corefile", ". {\n forward . 192.0.2.1\n}", []),
        ("named -f", "/etc/bind/named.conf", 'include "mine.conf"; include "/etc/bind/named.conf";', []),
        ("named -f", "/etc/named.conf", "options { forward only; forwarders { ::1; }; };",
         [("::1", 53, "/etc/named.conf")]),
    ],
)  # fmt: skip
def test_coredns_and_named(line: str, path: str, text: str, there: list[tuple[str, int, str]]) -> None:
    running = Running({7: line}, "", {})
    running.texts[path] = text
    rows = resolver.read_forwarders(cast(Source, running))
    assert [(row.address, row.port, row.source) for row in rows if row.daemon != "dnsmasq"] == there


def test_named_includes() -> None:
    running = Running({7: "named"}, "", {})
    running.texts["/etc/bind/named.conf"] = '// include "/etc/no";\ninclude "/etc/bind/o";\n'
    running.texts["/etc/bind/o"] = "options { forwarders { 127.0.0.1; }; forward only; };"
    rows = resolver.read_forwarders(cast(Source, running))
    assert [row.source for row in rows if row.daemon == "named"] == ["/etc/bind/o"]


class Running:
    """dnsmasq with these command lines, and files."""

    def __init__(self, lines: dict[int, str], root: str, namespaces: dict[str, str]) -> None:
        self.lines, self.namespaces = lines, namespaces
        self.texts = {
            f"{root}/etc/mine.conf": "server=192.0.2.7\n",
            f"{root}/etc/dnsmasq.conf": "server=192.0.2.8\n",
            f"{root}/etc/own/a": "server=192.0.2.9 # ours\n",
            f"{root}/etc/other.conf": "resolv-file=/run/up # of DHCP\n",
            f"{root}/run/up": "nameserver 198.51.100.1\n",
            f"{root}/etc/resolv.conf": "nameserver 127.0.0.1\nnameserver 192.0.2.99\n",
        }

    def listdir(self, path: str) -> tuple[str, ...]:
        return ("a",) if path.endswith("/etc/own") else ()

    def read_many(self, paths: list[str]) -> dict[str, bytes]:
        return {path: self.texts[path].encode() for path in paths if path in self.texts}

    def read(self, path: str) -> bytes:
        return self.lines[int(path.split("/")[2])].replace(" ", "\0").encode() + b"\0"

    def readlink(self, path: str) -> str:
        return self.namespaces.get(path, f"{path.rpartition('/')[2]}:[1]")

    def fetch(self, kind: str, key: str) -> bytes:
        if kind == "settings":
            what, _, path = key.partition("\n")
            if path not in self.texts:
                raise Unreadable("absent", path)
            return json.dumps(told(what, self.texts[path])).encode()
        assert kind == "processes"
        mine = [pid for pid, line in self.lines.items() if line.startswith(key)]
        return b"".join(b"%d 100 %s\n" % (pid, key.encode()) for pid in mine)


def test_an_empty_line_of_resolved_drops_the_servers_of_earlier_files() -> None:
    for drop_in, there in (("DNS =\nDNS=127.0.0.53", False), ("DNS=127.0.0.53", True), ("Domains=\n#DNS=", True)):
        rows = resolver.read_forwarders(cast(Source, Files(drop_in)))
        assert any(row.address == "192.0.2.1" for row in rows) == there, drop_in


def test_unbound() -> None:
    text = 'server:\n  interface: 127.0.0.1\nforward-zone:\n  name: "."\n  forward-addr: 192.0.2.1@853#dns.example\n'
    text += "stub-zone:\n  name: consul.\n  stub-addr: 127.0.0.1@8600\n"
    assert places(parse_unbound(text, "f")) == [("192.0.2.1", 853, None), ("127.0.0.1", 8600, "consul")]


def test_what_a_lab_host_says(lab: Lab) -> None:
    host = lab.host("a")
    host.run("ln", "-sfn", "../run/nowhere/resolv.conf", "/etc/resolv.conf")
    host.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    host.write("/etc/os-release", 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n')
    host.write("/etc/network/interfaces", "auto eth0\niface eth0 inet dhcp\n")

    def read() -> tuple[object, object, object]:
        import ctypes

        ctypes.CDLL(None).prctl(15, b"chronyd", 0, 0, 0)  # PR_SET_NAME
        options = Options(interval=0)
        return tuple(  # type: ignore[return-value]
            module.collect(LiveSource(), options).tables[name]
            for module, name in ((resolver, "resolver"), (clock, "clock"), (identity, "identity"))
        )

    names, time, machine = host.call(read)
    assert (names.present, names.dangling, names.target) == (False, True, "/run/nowhere/resolv.conf")  # type: ignore[attr-defined]
    (daemon,) = time.daemons  # type: ignore[attr-defined]
    assert daemon.name == "chronyd" and daemon.age < 60
    assert time.state is not None and 0 <= time.maxerror <= 16  # type: ignore[attr-defined]
    assert machine.machine_id == hashlib.sha256(b"0123456789abcdef0123456789abcdef").hexdigest()[:16]  # type: ignore[attr-defined]
    assert (machine.distribution, machine.version_id) == ("Debian 12", "12")  # type: ignore[attr-defined]
    assert [(row.name, row.evidence) for row in machine.managers] == [("ifupdown", "/etc/network/interfaces")]  # type: ignore[attr-defined]
