"""Replies of BIRD 3, which no distribution that we test on has: written after its nest/proto.c and proto/bgp/bgp.c."""

from pathlib import Path

from netdiag.model.bird import BirdProtocol, UpdateCounts
from netdiag.sources.bird import protocols, replies

GOLDEN = Path(__file__).parent / "golden"


def bird3() -> dict[str, BirdProtocol]:
    """The protocols of the golden reply, by name."""
    said = replies.split((GOLDEN / "bird3_protocols.txt").read_bytes())
    return {row.name: row for row in protocols.protocols(said["show protocols all"])}


def test_every_protocol_is_read() -> None:
    found = bird3()
    assert {name: (row.proto, row.state, row.info) for name, row in found.items()} == {
        "device1": ("Device", "up", ""),
        "kernel1": ("Kernel", "up", ""),
        "transit-a.1": ("BGP", "up", "Established"),
        "backup": ("BGP", "start", "Active Socket: Connection refused"),
    }
    assert found["device1"].since == "2026-01-02 10:00:00"


def test_statistics_of_seven_columns_go_by_their_names() -> None:
    (channel,) = bird3()["transit-a.1"].channels
    assert channel.import_updates == UpdateCounts(received=530, rejected=2, filtered=7, ignored=9, accepted=500)
    assert channel.export_updates == UpdateCounts(received=40, rejected=30, filtered=5, ignored=2, accepted=3)
    assert channel.export_withdraws == UpdateCounts(received=6, ignored=0, accepted=6)
    assert (channel.imported, channel.filtered, channel.exported, channel.preferred) == (500, 7, 3, 499)


def test_limits_belong_to_their_actions() -> None:
    (channel,) = bird3()["transit-a.1"].channels
    assert (channel.import_limit, channel.import_limit_action, channel.import_limit_hit) == (500, "block", True)
    assert (channel.receive_limit, channel.receive_limit_action, channel.receive_limit_hit) == (900, "disable", False)


def test_a_session_over_a_link_local_address() -> None:
    row = bird3()["transit-a.1"]
    assert (row.neighbor_address, row.neighbor_ifname) == ("fe80::2", "eth0.100")
    assert (row.neighbor_as, row.local_as, row.hold_timer) == (4200000002, 65001, "6.250/9")


def test_a_session_that_is_down_tells_why() -> None:
    row = bird3()["backup"]
    assert row.last_error == "Socket: Connection refused"
    assert row.channels[0].state == "DOWN"
    assert row.channels[0].exported is None
