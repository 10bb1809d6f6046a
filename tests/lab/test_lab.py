"""The lab itself: hosts are private, fast to make, connected as drawn, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import Host, Lab, LabError, wait_until
from tests.lab.host import REPOSITORY

# A process that makes two hosts, a cable and a daemon, says who they are, and then waits to be killed.
CREATOR = """
import sys
from tests.lab import Lab
with Lab() as lab:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, "eth0", b, "eth0", a_addresses="192.0.2.1/30", b_addresses="192.0.2.2/30")
    daemon = a.spawn("sleep", "3600")
    listener = lab.listen_udp(b, "0.0.0.0", 9)
    print(a.pid, b.pid, daemon.pid, listener.pid, flush=True)
    sys.stdin.read()
"""


def namespaces_in_use() -> set[str]:
    """Network namespaces of all processes of this machine."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found.add(os.readlink(folder / "ns/net"))
        except OSError:
            continue
    return found


def two_hosts(lab: Lab) -> tuple[Host, Host]:
    a, b = lab.host("a"), lab.host("b")
    lab.link(
        a,
        "eth0",
        b,
        "eth0",
        a_addresses=["192.0.2.1/30", "2001:db8::1/64"],
        b_addresses=["192.0.2.2/30", "2001:db8::2/64"],
    )
    return a, b


def test_a_host_has_only_its_own_loopback(lab: Lab) -> None:
    host = lab.host("edge1")
    assert host.run("hostname").stdout == "edge1\n"
    assert host.sh("ls /sys/class/net").stdout.split() == ["lo"]
    assert "127.0.0.1/8" in host.run("ip", "-br", "address", "show", "dev", "lo").stdout
    assert socket.gethostname() != "edge1"


def test_a_host_sees_only_its_own_processes(lab: Lab) -> None:
    host = lab.host("a")
    pids = host.call(lambda: [int(name) for name in os.listdir("/proc") if name.isdigit()])
    assert 1 in pids
    assert len(pids) < 5


def test_mounts_of_a_host_are_its_own(lab: Lab) -> None:
    host = lab.host("a")
    mounted = host.read("/proc/self/mountinfo")
    assert mounted.count(" /sys/fs/bpf ") == 1
    assert host.sh("ls -A /run/bird /run/wireguard /sys/fs/bpf").returncode == 0
    before = Path("/proc/self/mountinfo").read_text("utf-8")
    host.sh("mkdir /run/x && mount -t tmpfs tmpfs /run/x")
    assert Path("/proc/self/mountinfo").read_text("utf-8") == before
    assert not Path("/run/x").exists()


def test_files_written_in_a_host_stay_there(lab: Lab) -> None:
    host, other = lab.host("a"), lab.host("b")
    host.write("/etc/netdiag-lab-test/intent.toml", "x")
    assert host.read("/etc/netdiag-lab-test/intent.toml") == "x"
    assert not Path("/etc/netdiag-lab-test").exists()
    with pytest.raises(LabError, match="FileNotFoundError"):
        other.read("/etc/netdiag-lab-test/intent.toml")


@pytest.mark.parametrize("path", ["/tmp/netdiag-lab-test", "/dev/shm/netdiag-lab-test", "/root/netdiag-lab-test"])
def test_files_of_the_real_machine_are_refused(lab: Lab, path: str) -> None:
    with pytest.raises(LabError, match="real machine"):
        lab.host("a").write(path, "x")
    assert not Path(path).exists()


def test_a_host_can_have_a_cgroup_tree_of_its_own() -> None:
    if os.geteuid() != 0:
        pytest.skip("lab hosts are made of namespaces, which needs root")
    with Lab() as lab:
        host, onlooker = lab.host("a", own_cgroup=True), lab.host("b")
        host.sh("mkdir -p /sys/fs/cgroup/service/worker")
        assert host.read("/proc/self/cgroup").splitlines()[-1] == "0::/"
        assert "1" in host.read("/sys/fs/cgroup/cgroup.procs").split()
        ours = [line for line in onlooker.sh("ls /sys/fs/cgroup").stdout.split() if line.startswith("netdiag-lab:")]
        assert any(line.endswith(":a") for line in ours)
        assert "netdiag-lab" not in host.sh("ls /sys/fs/cgroup").stdout
    with Lab() as lab:
        assert f":{os.getpid()}:" not in lab.host("b").sh("ls /sys/fs/cgroup").stdout


def test_sysctls_start_from_the_kernels_defaults_and_stay_inside(lab: Lab) -> None:
    machine = Path("/proc/sys/net/ipv4/conf/all/rp_filter").read_text("ascii")
    host = lab.host("a", sysctls={"net.ipv4.conf.default.rp_filter": "2"})
    host.sysctl({"net.ipv4.conf.all.rp_filter": 1, "net.ipv4.ip_forward": 1})
    assert host.read("/proc/sys/net/ipv4/conf/all/rp_filter") == "1\n"
    assert host.read("/proc/sys/net/ipv4/conf/default/rp_filter") == "2\n"
    assert lab.host("b").read("/proc/sys/net/ipv4/conf/all/rp_filter") == "0\n"
    assert Path("/proc/sys/net/ipv4/conf/all/rp_filter").read_text("ascii") == machine


def test_a_cable_carries_both_families_at_once(lab: Lab) -> None:
    a, _ = two_hosts(lab)
    a.run("ping", "-c1", "-W1", "192.0.2.2")
    a.run("ping", "-c1", "-W1", "2001:db8::2")
    assert a.running("eth0")
    assert not a.running("eth1")


def test_no_two_interfaces_of_a_lab_share_an_index(lab: Lab) -> None:
    indexes = [host.read("/sys/class/net/eth0/ifindex") for host in two_hosts(lab)]
    assert len(set(indexes)) == 2


def test_a_cable_that_is_down_stays_down(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, "eth0", b, "eth0", mtu=9000, up=False)
    assert not a.running("eth0")
    assert a.read("/sys/class/net/eth0/mtu") == "9000\n"


def test_hosts_on_a_switch_reach_each_other(lab: Lab) -> None:
    switch = lab.switch()
    hosts = [lab.host(name) for name in ("a-host-with-a-long-name-1", "a-host-with-a-long-name-2", "c")]
    ports = [lab.plug(host, "eth0", switch, f"10.0.0.{n}/24") for n, host in enumerate(hosts, 1)]
    assert len(set(ports)) == 3
    hosts[0].run("ping", "-c1", "-W1", "10.0.0.2")
    hosts[0].run("ping", "-c1", "-W1", "10.0.0.3")


def test_a_failing_command_says_who_what_and_why(lab: Lab) -> None:
    host = lab.host("a")
    with pytest.raises(LabError, match=r"(?s)a: .*ip.*exited with 1.*Cannot find device"):
        host.run("ip", "link", "set", "dev", "nope", "up")
    with pytest.raises(LabError, match=r"(?s)Cannot find device.*Command failed -:2.*link set dev nope up"):
        host.ip("link show dev lo\nlink set dev nope up")
    assert host.run("ip", "link", "set", "dev", "nope", "up", check=False).returncode == 1


def test_a_hung_command_is_killed(lab: Lab) -> None:
    host = lab.host("a")
    with pytest.raises(LabError, match="took more than"):
        host.sh("sleep 3600 & sleep 3600", timeout=0.1)
    lab.wait(lambda: "sleep\0003600" not in host.sh("cat /proc/[0-9]*/cmdline").stdout, what="both are gone")


def test_a_callable_answers_raises_and_dies_like_a_function_should(lab: Lab) -> None:
    host = lab.host("a")
    assert host.call(lambda: (socket.gethostname(), 7)) == ("a", 7)
    with pytest.raises(LabError, match="ZeroDivisionError"):
        host.call(lambda: 1 // 0)
    with pytest.raises(LabError, match="died without an answer"):
        host.call(lambda: os._exit(3))
    with pytest.raises(LabError, match="took more than"):
        host.call(lambda: signal.pause(), timeout=0.1)


def test_input_reaches_a_command(lab: Lab) -> None:
    assert lab.host("a").run("cat", text="abc").stdout == "abc"


def test_names_are_unique(lab: Lab) -> None:
    lab.host("a")
    with pytest.raises(ValueError, match="already a host"):
        lab.host("a")


def test_senders_and_listeners_count(lab: Lab) -> None:
    a, b = two_hosts(lab)
    listener = lab.listen_udp(b, "0.0.0.0", 7777)
    assert lab.send_udp(a, "192.0.2.2", 7777, count=5, size=100) == {"sent": 5}
    lab.wait(lambda: listener.packets == 5, what="five datagrams")
    assert listener.octets == 500
    assert lab.send_udp(a, "192.0.2.2", 7777, count=3, size=1473) == {"EMSGSIZE": 3}
    assert lab.send_udp(a, "192.0.2.2", 7777, count=3, size=1473, df=False) == {"sent": 3}
    listener.stop()
    assert lab.send_udp(a, "2001:db8::2", 7777, count=2, size=10) == {"sent": 2}


def test_tcp_is_accepted_counted_and_refused(lab: Lab) -> None:
    a, b = two_hosts(lab)
    listener = lab.listen_tcp(b, "::", 8080)
    assert lab.send_tcp(a, "192.0.2.2", 8080, size=5000) == "sent"
    assert lab.send_tcp(a, "2001:db8::2", 8080, size=5000) == "sent"
    lab.wait(lambda: listener.octets == 10000, what="all bytes")
    assert listener.packets == 2
    assert lab.send_tcp(a, "192.0.2.2", 8081) == "ECONNREFUSED"


def test_a_listener_that_cannot_bind_says_so(lab: Lab) -> None:
    with pytest.raises(LabError, match="did not start"):
        lab.listen_udp(lab.host("a"), "192.0.2.77", 7777)


def test_closing_leaves_nothing_behind() -> None:
    if os.geteuid() != 0:
        pytest.skip("lab hosts are made of namespaces, which needs root")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(RuntimeError, match="a test failed"), Lab() as lab:
        a, b = two_hosts(lab)
        daemon = a.spawn("sleep", "3600")
        lab.listen_udp(b, "0.0.0.0", 9)
        spaces = {os.readlink(host.netns_path) for host in (a, b)}
        assert spaces <= namespaces_in_use()
        raise RuntimeError("a test failed")
    assert daemon.returncode == -signal.SIGKILL
    assert not spaces & namespaces_in_use()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.lab
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_lab_dies_with_its_process(number: signal.Signals) -> None:
    if os.geteuid() != 0:
        pytest.skip("lab hosts are made of namespaces, which needs root")
    creator = subprocess.Popen(
        [sys.executable, "-c", CREATOR],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with creator:
        assert creator.stdout is not None
        pids = [int(word) for word in creator.stdout.readline().split()]
        assert len(pids) == 4
        spaces = {os.readlink(f"/proc/{pid}/ns/net") for pid in pids}
        creator.send_signal(number)
        wait_until(lambda: not spaces & namespaces_in_use(), 5, "its namespaces are gone")
        # The dead may wait a few seconds for the machine's first process to reap them.
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 60, "all its processes are gone")


def test_waiting_ends_with_the_name_of_what_did_not_come() -> None:
    assert wait_until(lambda: "answer", 0) == "answer"
    with pytest.raises(TimeoutError, match=r"after 0\.02 s still not: the moon \(last answer: 0\)"):
        wait_until(lambda: 0, 0.02, "the moon")
