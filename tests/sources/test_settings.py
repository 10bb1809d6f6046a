"""What is taken out of files that may hold secrets, and what stays behind."""

import json
from pathlib import Path

import pytest

from netdiag.sources import settings

SECRET = "c2VjcmV0LXNlY3JldA=="
FILES = (
    (
        "named",
        f'key "ns1" {{ algorithm hmac-sha256; secret "{SECRET}"; }};\n'
        "options { forward only; forwarders { 192.0.2.1 port 54; }; };\n"
        'include "/etc/bind/rndc.key";\n',
        {"servers": [["192.0.2.1", 54, None]], "includes": ["/etc/bind/rndc.key"]},
    ),
    (
        "corefile",
        f". {{\n route53 example.org:Z1 {{\n  aws_access_key A {SECRET}\n }}\n forward . 192.0.2.1 /run/up\n}}\n",
        {"servers": [["192.0.2.1", 53, None]], "files": [["/run/up", None]]},
    ),
    (
        "host-local",
        json.dumps({"policy": {"k8s_auth_token": SECRET}, "ipam": {"type": "host-local", "dataDir": "/run/cni/"}}),
        {"folders": ["/run/cni"]},
    ),
)


@pytest.mark.parametrize(("what", "text", "there"), FILES, ids=[what for what, _, _ in FILES])
def test_secrets_stay_behind(what: str, text: str, there: object, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(text, encoding="utf-8")
    answer = settings.fetch(f"{what}\n{path}", None)
    assert json.loads(answer) == there
    assert SECRET.encode() not in answer


def test_too_large(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"#" * (settings.LIMIT + 1))
    with pytest.raises(OSError, match="too large"):
        settings.fetch(f"named\n{path}", None)
