"""A container died without its address being freed; one that runs keeps its own."""

from tests.drills.harness import Drill, drill_test
from tests.lab import Host, Lab

FOLDER = "/var/lib/cni/networks/pods"


def build(lab: Lab) -> Host:
    """One container that runs, with an address of each family, and the plugin's notes beside them."""
    host = lab.host("node1")
    host.run("ip", "netns", "add", "cni-1")
    host.spawn("ip", "netns", "exec", "cni-1", "sleep", "100")
    host.write(f"{FOLDER}/10.22.0.5", "0123456789abcdef\neth0")
    host.write(f"{FOLDER}/fd00:22::5", "0123456789abcdef\neth0")
    host.write(f"{FOLDER}/last_reserved_ip.0", "10.22.0.5")
    host.write(f"{FOLDER}/lock", "")
    lab.wait(lambda: host.run("pgrep", "-fx", "sleep 100", check=False).stdout, 5, "the container runs")
    return host


def leak(lab: Lab, host: Host) -> None:
    for number in (6, 7):
        host.write(f"{FOLDER}/10.22.0.{number}", f"dead{number}\neth0")


test_drill = drill_test(
    Drill(
        rule="cni-ipam-leak",
        build=build,
        break_=leak,
        repair=lambda lab, host: host.sh(f"rm {FOLDER}/10.22.0.6 {FOLDER}/10.22.0.7"),
        severity="warning",
        expect={"kind": "prefix", "network": "pods"},
    )
)
