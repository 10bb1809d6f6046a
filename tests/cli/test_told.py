"""What a person tells: --intent, --suppress and --baseline, and what of a file is refused."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Netdiag

GOOD = '[[rule]]\npriority = 100\nfwmark = "0x1/0xff"\ntable = "main"\n'
KEY = "A" * 42 + "E="


def written(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "told.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[rul]]\npriority = 1\n", "unknown key 'rul' (did you mean rule?)"),
        ("[[rule]]\nprioritty = 1\n", "[[rule]]: unknown key 'prioritty' (did you mean priority?)"),
        ("[[rule]]\ntable = 1\n[[rule]]\ntable = 'mian'\n", "[[rule]] number 2: table = 'mian': must be a table"),
        ("[[rule]]\npriority = -1\n", "priority = -1: must be a number from 0"),
        ("[[rule]]\nfwmark = 'x'\n", "fwmark = 'x': must be a number"),
        ("[[rule]]\nsrc = '10.0.0.0/8'\ndst = '::/0'\n", "mixes IPv4 and IPv6"),
        ("[[rule]]\nfamily = 'inet6'\n", "says nothing about the rule"),
        ("[rule]\npriority = 1\n", "rule must be an array of tables: [[rule]]"),
        ("[[bpf]]\nhook = 'tc-ingres'\nifname = 'a'\nname = 'b'\n", "hook = 'tc-ingres': must be one of"),
        ("[[bpf]]\nhook = 'xdp'\nname = 'b'\n", "[[bpf]]: ifname is missing"),
        ("[[bpf]]\nhook = 'cgroup-inet-ingress'\nifname = 'x'\nname = 'b'\n", "ifname means nothing"),
        ("[[bpf]]\nhook = 'xdp'\nifname = 'a'\nname = 'b'\ntag = 'xyz'\n", "tag = 'xyz': must be 16 hex digits"),
        ("[[announce]]\nprefix = '10.0.0.1/8'\n", "must be a prefix (it has host bits set)"),
        ("[[route]]\ntable = 1\n", "dst is missing"),
        ("[[address]]\nifname = 'lo'\naddress = 'x'\n", "address = 'x': must be an address"),
        (
            "[[wireguard]]\nifname = 'wg0'\n[[wireguard.peer]]\npublic_key = 'x'\n",
            "[[wireguard.peer]]: public_key = 'x'",
        ),
        (f"[[wireguard]]\nifname = 'w'\n[[wireguard.peer]]\npublic_key = '{KEY}'\nkey = 1\n", "unknown key 'key'"),
        ("[sysctl]\n'net.ipv4.tcp_fastopen_key' = 'x'\n", "holds a secret"),
        ("[sysctl]\n'net..ipv4' = 1\n", "is no setting"),
        ("[sysctl]\n'../etc/shadow' = 1\n", "is no setting"),
        ("[sysctl]\n'net.ipv4.ip_forward' = 1.5\n", "must be a number or a text"),
        ("[labels]\nregion = ['a']\n", "[labels]: region"),
        ("x = ", "not TOML"),
        (b"\xff\xfe", "not TOML"),
    ],
)
def test_an_intent_that_is_wrong_is_refused_with_file_and_key(
    netdiag: Netdiag, file: str, tmp_path: Path, text: str | bytes, said: str
) -> None:
    path = written(tmp_path, text)
    ran = netdiag("check", file, "--intent", path)
    assert (ran.status, ran.out) == (65, "")
    assert ran.err.startswith(f"netdiag: {path}: ") and said in ran.err and ran.err.count("\n") == 1


@pytest.mark.parametrize("path", ["/no/such/file", "/dev/zero", "/"])
def test_what_is_no_file_is_refused(netdiag: Netdiag, file: str, path: str) -> None:
    for option in ("--intent", "--suppress", "--baseline"):
        ran = netdiag("check", file, option, path)
        assert (ran.status, ran.out, ran.err.count("\n")) == (65, "", 1)


def test_an_intent_overrides_that_of_a_snapshot_and_is_kept_in_it(
    netdiag: Netdiag, host: list[object], tmp_path: Path
) -> None:
    ran = netdiag(
        "collect", "-o", str(tmp_path / "x.netdiag"), "--intent", written(tmp_path, GOOD + "[labels]\ndrained = true\n")
    )
    assert ran.status == 0
    (options,) = host
    assert getattr(options, "labels", None) == {"drained": "true"}
    assert getattr(getattr(options, "intent", None), "rule", None)[0].fwmask == 0xFF


def reasons(netdiag: Netdiag, *arguments: str) -> dict[str, str]:
    document = json.loads(netdiag("check", "--json", *arguments).out)
    return {row["rule"]: row["reason"] for row in document["not_evaluated"]}


def test_a_section_that_is_not_there_is_not_evaluated(netdiag: Netdiag, complete: str, tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    assert "intent: no [[route]] section" in reasons(netdiag, complete, "--intent", path)["route-expected-missing"]


SUPPRESS = '[[suppress]]\nrule = "{rule}"\nmatch = "{match}"\nowner = "ann"\nticket = "N-1"\nexpires = {expires}\n'


@pytest.mark.parametrize("key", ["rule", "match", "owner", "ticket", "expires"])
def test_a_suppression_needs_all_five_keys(netdiag: Netdiag, file: str, tmp_path: Path, key: str) -> None:
    text = SUPPRESS.format(rule="a", match="*", expires="2030-01-01")
    lines = [line for line in text.splitlines() if not line.startswith(f"{key} ")]
    ran = netdiag("check", file, "--suppress", written(tmp_path, "\n".join(lines)))
    assert ran.status == 65 and f"{key} is missing" in ran.err


def test_suppressed_is_counted_not_hidden_and_expires(netdiag: Netdiag, complete: str, tmp_path: Path) -> None:
    intent = tmp_path / "intent.toml"
    intent.write_text("[[route]]\ndst = '198.18.0.0/15'\n")
    rule = "route-expected-missing"

    def judged(text: str) -> tuple[int, list[dict[str, object]]]:
        path = written(tmp_path, text)
        ran = netdiag(
            "check",
            complete,
            "--json",
            "--intent",
            str(intent),
            "--suppress",
            path,
            "--rule",
            rule,
            "--rule",
            "suppression-expired",
        )
        return ran.status, json.loads(ran.out)["findings"]

    status, (only,) = judged("")
    assert status in (1, 2) and only["suppressed"] is None
    covered = SUPPRESS.format(rule=rule, match="route 198.18.*", expires="2999-12-31")
    status, (only,) = judged(covered)
    assert status == 0 and only["suppressed"] == "ann, N-1, until 2999-12-31"
    text = netdiag(
        "check", complete, "--intent", str(intent), "--suppress", written(tmp_path, covered), "--rule", rule
    ).out
    assert "1 suppressed" in text
    status, (only,) = judged(covered.replace("198.18.*", "198.19.*"))
    assert status in (1, 2) and only["suppressed"] is None
    status, found = judged(covered.replace("2999-12-31", "2001-01-01"))
    assert status in (1, 2) and {row["rule"] for row in found} == {rule, "suppression-expired"}
    assert all(row["suppressed"] is None for row in found)
