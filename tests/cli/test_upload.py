"""``netdiag collect -o URL``: what is sent where, with which header, and how it fails."""

import io
from pathlib import Path

import pytest

from netdiag.snapshotfile import read_snapshot
from tests.cli.conftest import Netdiag
from tests.fleet.webserver import Api


def test_put(netdiag: Netdiag, host: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETDIAG_UPLOAD_AUTHORIZATION", "Bearer s3cret")
    with Api() as api:
        api.answers |= {"/b/edge1_20261123T173200Z.netdiag": (201, b""), "/presigned": (200, b"")}
        assert netdiag("collect", "-o", f"{api.url}/b/", "--jitter", "0.01").status == 0
        ran = netdiag("collect", "-o", f"{api.url}/presigned?X-Signature=s3cret", "--hostname", "fra-a")
        assert (ran.status, ran.out, ran.err) == (0, "", "")
        assert [(row[0], row[3]["authorization"]) for row in api.asked] == [("PUT", "Bearer s3cret")] * 2
        assert read_snapshot(io.BytesIO(api.received["/presigned"])).meta.name == "fra-a"
        for status in (302, 403):
            api.answers["/presigned"] = status, b"s3cret"
            ran = netdiag("collect", "-o", f"{api.url}/presigned?X-Signature=s3cret")
            assert ran.status == 70 and f": {status} " in ran.err and "s3cret" not in ran.err
        assert {row[1] for row in api.asked} == {"/presigned", "/b/edge1_20261123T173200Z.netdiag"}  # not /elsewhere


def test_folder_and_fsspec(netdiag: Netdiag, host: list[object], tmp_path: Path) -> None:
    assert netdiag("collect", "-o", f"{tmp_path}/").status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["edge1_20261123T173200Z.netdiag"]
    assert netdiag("collect", "-o", f"file://{tmp_path}/again.netdiag").status == 0
    assert read_snapshot(str(tmp_path / "again.netdiag")).meta.name == "edge1"
    assert netdiag("collect", "-o", f"nonsense://{tmp_path}/again.netdiag").status == 70


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/x", "https:///x", "http://user:s3cret@192.0.2.1/x?s3cret", "/nonexistent/"]
)
def test_refused_before_the_host_is_read(netdiag: Netdiag, host: list[object], url: str) -> None:
    ran = netdiag("collect", "-o", url)
    assert ran.status == 64 and len(ran.err.splitlines()) == 1 and "s3cret" not in ran.err and not host
