"""A secondary address is told as a trap, never as an alarm; and the kernel does what the page says."""

from tests.lab import Host, Lab

RULE = "addr-orphaned-primary-delete-flushes-secondary"


def test_the_trap_and_its_end(lab: Lab) -> None:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses=["192.0.2.1/24", "192.0.2.2/24"], b_addresses="192.0.2.3/24")
    report = host.report("--interval", "0")
    assert [(row["rule"], row["severity"]) for row in report["findings"]] == [(RULE, "info")]
    host.run("bash", "-ec", report["findings"][0]["fix"])
    assert host.report("--interval", "0")["findings"] == []
    host.ip("address del 192.0.2.1/24 dev eth0")
    assert addresses(host) == ["192.0.2.2/24"]


def test_without_it_the_kernel_deletes_them_all(lab: Lab) -> None:
    host, peer = lab.host("edge1"), lab.host("edge2")
    lab.link(host, "eth0", peer, "eth0", a_addresses=["192.0.2.1/24", "192.0.2.2/24"])
    host.ip("address del 192.0.2.1/24 dev eth0")
    assert addresses(host) == []


def addresses(host: Host) -> list[str]:
    shown = host.run("ip", "-4", "-br", "address", "show", "dev", "eth0", check=False).stdout.split()
    return [word for word in shown if "/" in word]
