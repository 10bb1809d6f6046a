"""Whose snapshot is it: by its own word, by where it was put, and by what else there is."""

import pytest

from netdiag.fleet.identity import Known, Seen, agrees, settle

TAKEN = "2026-11-25T23:00:00Z"
NOW = 1_795_651_200.0


def seen(path: str, name: str, taken_at: str = TAKEN, **fields: object) -> Seen:
    return Seen(path=path, name=name, taken_at=taken_at, **({"digest": path} | fields))  # type: ignore[arg-type]


def kinds(*rows: Seen, **more: object) -> list[tuple[str, str]]:
    return [(notice.kind, notice.host) for notice in settle(rows, **more).notices]  # type: ignore[arg-type]


@pytest.mark.parametrize("label", ["fra-a", "fra-a.2", "fra-a_2026-11-25", "fra-a-1"])
def test_names_of_files_that_agree(label: str) -> None:
    assert agrees(label, "fra-a")


@pytest.mark.parametrize("label", ["fra-ab", "fra", "", "x-fra-a"])
def test_names_of_files_that_do_not(label: str) -> None:
    assert not agrees(label, "fra-a")


def test_a_file_that_is_named_after_nobody_counts_as_what_it_says() -> None:
    settled = settle([seen("1.netdiag", "fra-a"), seen("night/2.netdiag", "fra-b")])
    assert settled.hosts == {"1.netdiag": "fra-a", "night/2.netdiag": "fra-b"} and not settled.notices


def test_who_is_let_in_as_one_host_cannot_speak_for_another() -> None:
    rows = [seen("fra-a.netdiag", "fra-a"), seen("fra-b.netdiag", "fra-b"), seen("fra-b.2.netdiag", "fra-a")]
    assert settle(rows).hosts["fra-b.2.netdiag"] == "fra-a", "it is named after nobody"
    rows = [seen("fra-a.netdiag", "fra-a"), seen("fra-b/1.netdiag", "fra-b"), seen("fra-b/2.netdiag", "fra-a")]
    assert settle(rows).hosts["fra-b/2.netdiag"] == "fra-b"
    assert kinds(*rows) == [("identity", "fra-b")]
    known = {"fra-b": [Known(taken_at="2026-11-24T23:00:00Z", digest="old")]}
    assert settle([seen("fra-b.netdiag", "fra-a")], known).hosts == {"fra-b.netdiag": "fra-b"}


def test_two_machines_of_one_name() -> None:
    one = seen("fra-a.netdiag", "fra-a", boot_id="x", uptime=5000.0)
    clone = seen("fra-c.netdiag", "fra-a", "2026-11-25T23:10:00Z", boot_id="y", uptime=5000.0)
    assert settle([one, clone]).hosts["fra-c.netdiag"] == "fra-c"
    assert kinds(one, clone) == [("identity", "fra-c")]
    loose = [seen(f"{n}.netdiag", "fra-a", f"2026-11-25T23:{n}0:00Z", boot_id=str(n), uptime=5000.0) for n in (1, 2)]
    assert kinds(*loose) == [("same-name", "fra-a")]
    after = seen("2.netdiag", "fra-a", "2026-11-25T23:10:00Z", boot_id="y", uptime=60.0)
    assert not kinds(seen("1.netdiag", "fra-a", boot_id="x"), after), "a reboot"


def test_the_same_bytes_and_old_ones() -> None:
    twice = [seen("a.netdiag", "fra-a", digest="d"), seen("b.netdiag", "fra-a", digest="d")]
    assert settle(twice).hosts == {"a.netdiag": "fra-a"}
    assert kinds(*twice) == [("duplicate", "fra-a")]
    known = {"fra-a": [Known(taken_at=TAKEN, digest="d")]}
    assert kinds(twice[0], known=known) == [("replay", "fra-a")]
    assert kinds(seen("old.netdiag", "fra-a", "2026-11-25T22:59:59Z"), known=known) == [("replay", "fra-a")]
    assert not kinds(seen("new.netdiag", "fra-a", "2026-11-25T23:00:01Z"), known=known)


def test_clocks() -> None:
    fleet = [seen(f"{n}.netdiag", f"fra-{n}") for n in range(5)]
    assert not kinds(*fleet, now=NOW)
    assert kinds(*fleet, seen("x.netdiag", "fra-x", "2026-11-24T10:59:59Z")) == [("stale", "fra-x")]
    assert not kinds(*fleet, seen("x.netdiag", "fra-x", "2026-11-24T11:00:01Z"))
    assert kinds(*fleet, seen("x.netdiag", "fra-x", "2036-11-25T23:00:00Z")) == [("clock-skew", "fra-x")]
    assert kinds(*fleet, seen("x.netdiag", "fra-x", "2026-11-26T00:10:01Z"), now=NOW) == [("clock-skew", "fra-x")]
    assert kinds(*fleet, seen("x.netdiag", "fra-x", "yesterday")) == [("clock-skew", "fra-x")]
    assert not kinds(seen("x.netdiag", "fra-x", "1970-01-01T00:00:00Z")), "alone it is as old as all others"
