"""netdiag.confine: what a confined child can still do, and what the kernel refuses it."""

import ctypes
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from netdiag import confine


def in_child(work: Callable[[], None], *, writes_files: bool = False, landlocked: bool = True) -> int:
    """Error number that ``work`` met in a confined child; 0: none."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = 255
        try:
            assert confine.seccomp(writes_files=writes_files)
            if landlocked:
                confine.landlock()
            work()
            said = 0
        except OSError as error:
            said = error.errno or 254
        finally:
            os.write(writer, bytes([said]))
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = file.read()
    os.waitpid(pid, 0)
    return said[0] if said else 253


def bpf(command: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    number = confine.ARCHITECTURES[os.uname().machine].bpf
    attributes = ctypes.create_string_buffer(144)
    if libc.syscall(number, command, attributes, 144) < 0:
        raise OSError(ctypes.get_errno(), "bpf")


def test_it_can_read_a_file_and_ask_netlink() -> None:
    def work() -> None:
        Path("/proc/self/net/dev").read_bytes()
        os.listdir("/proc/sys/net")
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).close()

    assert in_child(work) == 0


@pytest.mark.parametrize("landlocked", [False, True])
def test_it_cannot_change_a_file(tmp_path: Path, landlocked: bool) -> None:
    there = tmp_path / "there"
    there.write_text("x")
    for change in (
        lambda: (tmp_path / "new").write_text("x"),
        lambda: there.write_text("y"),
        lambda: there.unlink(),
        lambda: there.rename(tmp_path / "other"),
        lambda: (tmp_path / "folder").mkdir(),
        lambda: os.truncate(there, 0),
        lambda: there.chmod(0o777),
    ):
        assert in_child(change, landlocked=landlocked) in (errno.EROFS, errno.EPERM, errno.EACCES)
    assert there.read_text() == "x"


def test_one_that_records_can_write_files_but_not_run_programs(tmp_path: Path) -> None:
    target = tmp_path / "reply.bin"
    assert in_child(lambda: target.write_bytes(b"x") and None, writes_files=True, landlocked=False) == 0
    assert target.read_bytes() == b"x"
    assert in_child(lambda: os.execv("/bin/true", ["true"]), writes_files=True, landlocked=False) == errno.EPERM


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_PACKET], ids=["inet", "inet6", "packet"])
def test_it_has_no_socket_to_send_packets_with(family: int) -> None:
    assert in_child(lambda: socket.socket(family, socket.SOCK_DGRAM).close()) == errno.EPERM


def test_it_cannot_run_a_program() -> None:
    assert in_child(lambda: os.execv("/bin/true", ["true"])) == errno.EPERM


def test_bpf_reads_and_does_not_write() -> None:
    assert in_child(lambda: bpf(0)) == errno.EPERM, "BPF_MAP_CREATE"
    assert in_child(lambda: bpf(11)) != 253, "BPF_PROG_GET_NEXT_ID reaches the kernel"


def test_an_unknown_architecture_has_no_filter() -> None:
    assert confine.program("vax", writes_files=False) is None


@pytest.mark.parametrize("machine", confine.ARCHITECTURES)
def test_every_jump_stays_inside(machine: str) -> None:
    for writes_files in (False, True):
        octets = confine.program(machine, writes_files=writes_files)
        assert octets is not None
        count = len(octets) // 8
        for position in range(count):
            code = int.from_bytes(octets[position * 8 : position * 8 + 2], "little")
            true, false = octets[position * 8 + 2], octets[position * 8 + 3]
            if code in (confine.JEQ, confine.JGE):
                assert position + 1 + max(true, false) < count
        assert octets[-8:-6] == confine.RET.to_bytes(2, "little")


def test_a_child_that_asks_options_of_internet_sockets_cannot_send() -> None:
    def opened() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def child(work: Callable[[socket.socket], object]) -> int:
        def confined() -> None:
            assert confine.seccomp(writes_files=False, asks_inet=True)
            work(opened())

        pid = os.fork()
        if pid == 0:
            code = 0
            try:
                confined()
            except OSError as error:
                code = error.errno or 254
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert child(lambda raw: raw.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)) == 0
    assert child(lambda raw: raw.sendto(b"x", ("127.0.0.1", 9))) == errno.EPERM
    assert child(lambda raw: raw.connect(("127.0.0.1", 9))) == errno.EPERM
    assert child(lambda raw: raw.sendmsg([b"x"], [], 0, ("127.0.0.1", 9))) == errno.EPERM
