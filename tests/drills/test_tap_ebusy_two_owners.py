"""A second machine is started with a tap that is in use."""

import sys

from tests.drills.harness import Drill, drill_test
from tests.drills.tapworld import worker
from tests.lab import Host, Lab
from tests.lab.taps import hold

REFUSED = """
import fcntl, os, signal, struct, sys
fd = os.open("/dev/net/tun", os.O_RDWR)
try:
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", sys.argv[1].encode(), 0x5002))
except OSError:
    signal.pause()
"""


def second(lab: Lab, host: Host) -> None:
    host.spawn(sys.executable, "-c", REFUSED, "tap0")
    lab.wait(lambda: host.run("pgrep", "-f", "tap0$", check=False).stdout, 5, "the second machine")


def shared(lab: Lab) -> Host:
    """Several queues, and a program that only names a tap."""
    host = worker(lab)
    host.ip("tuntap add dev mq0 mode tap multi_queue\nlink set mq0 up\nroute add 10.1.0.9/32 dev mq0")
    hold(host, "mq0", multi_queue=True, count=2)
    hold(host, "mq0", comm="vhost", multi_queue=True)
    host.spawn("tail", "-f", "/dev/null", "--pid", "1", "-s", "100", output="/run/tap0")
    return host


test_drill = drill_test(
    Drill(
        rule="tap-ebusy-two-owners",
        build=worker,
        break_=second,
        repair=lambda lab, host: host.run("pkill", "-f", "tap0$"),
        expect={"kind": "tap", "ifname": "tap0"},
        twin=shared,
    )
)
