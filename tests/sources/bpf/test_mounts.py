"""Mount points out of mountinfo, without those that another mount hides."""

from netdiag.sources.bpf.mounts import mounts
from tests.lab import Lab


def test_a_hidden_bpffs_is_not_walked(lab: Lab) -> None:
    host = lab.host("edge1")
    assert host.call(lambda: mounts("bpf")) == ["/sys/fs/bpf"]
    host.sh("mkdir '/run/a b'; mount -t bpf bpf '/run/a b'; mkdir /run/c; mount -t bpf bpf /run/c")
    assert host.call(lambda: mounts("bpf")) == ["/sys/fs/bpf", "/run/a b", "/run/c"]
    host.sh("mount -t tmpfs tmpfs /run/c")
    assert host.call(lambda: mounts("bpf")) == ["/sys/fs/bpf", "/run/a b"]
