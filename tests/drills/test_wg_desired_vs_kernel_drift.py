"""A peer that was taken away behind the intent's back, one that was left behind, and peers gone since a baseline."""

from tests.drills.harness import Drill, drill_test
from tests.drills.wireguardworld import key_of, mesh
from tests.lab import Host, Lab


def public(host: Host) -> str:
    """Key of the one peer of wg0."""
    return host.run("wg", "show", "wg0", "peers").stdout.split()[0]


def allowed(host: Host) -> str:
    """Its prefixes, as TOML."""
    words = host.run("wg", "show", "wg0", "allowed-ips").stdout.split()[1:]
    return ", ".join(f'"{word}"' for word in words)


def intended(lab: Lab) -> Host:
    host, _ = mesh(lab)
    text = f'[[wireguard]]\nifname = "wg0"\n[[wireguard.peer]]\npublic_key = "{public(host)}"\n'
    host.run("mkdir", "-p", "/etc/netdiag")
    host.write("/etc/netdiag/intent.toml", text + f"allowed_ips = [{allowed(host)}]\n")
    return host


def compared(lab: Lab) -> Host:
    host, _ = mesh(lab, keepalive=25)
    assert host.netdiag("collect", "--interval", "0", "-o", "/run/before.netdiag")[0] == 0
    return host


RULE = "wg-desired-vs-kernel-drift"
DRILLS = [
    Drill(
        rule=RULE,
        name="removed",
        build=intended,
        break_=lambda lab, host: host.run("wg", "set", "wg0", "peer", public(host), "remove"),
        repair=None,
        severity="critical",
        expect={"kind": "wireguard-peer", "ifname": "wg0"},
    ),
    Drill(
        rule=RULE,
        name="one too many",
        build=intended,
        break_=lambda lab, host: host.run(
            "wg", "set", "wg0", "peer", key_of(host, "pubkey"), "allowed-ips", "10.77.0.9/32"
        ),
        repair=None,
        severity="warning",
        expect={"kind": "wireguard-peer", "ifname": "wg0"},
    ),
    Drill(
        rule=RULE,
        name="baseline",
        build=compared,
        break_=lambda lab, host: host.run("wg", "set", "wg0", "peer", public(host), "remove"),
        repair=None,
        severity="critical",
        expect={"kind": "wireguard-peer", "ifname": "wg0"},
        check_args=("--interval", "0", "--baseline", "/run/before.netdiag"),
    ),
]
test_drill = drill_test(*DRILLS)
