"""Each way in which a conversation with the kernel can go wrong, and what the caller then knows."""

from __future__ import annotations

import errno
import socket
import time

import pytest

from netdiag.sources.netlink import constants as nl
from netdiag.sources.netlink import requests, sockets, transport
from netdiag.sources.netlink.messages import DumpRequest, NetlinkError, NetlinkTimeout, Reply
from netdiag.sources.netlink.transport import batch, dump
from tests.sources.netlink.kernel import HeaderRows, Kernel, Raw, Rows, ScriptedSocket, done, error, message, refused

pytestmark = pytest.mark.timed

ROUTES = DumpRequest("RTM_GETROUTE inet", nl.NETLINK_ROUTE, nl.RTM_GETROUTE, bytes(12))
GUARDED = DumpRequest("RTM_GETROUTE inet", nl.NETLINK_ROUTE, nl.RTM_GETROUTE, bytes(12), (nl.RTNLGRP_IPV4_ROUTE,))
MULTI, INTR = nl.NLM_F_MULTI, nl.NLM_F_DUMP_INTR
SINKS = pytest.mark.parametrize("sink_type", [Rows, HeaderRows])


def row(text: bytes, flags: int = MULTI) -> tuple[int, int, bytes]:
    return nl.RTM_NEWROUTE, flags, text


@SINKS
def test_rows_arrive_whole_and_in_order_without_done(sink_type: type[Rows]) -> None:
    kernel = Kernel(ScriptedSocket([[row(b"aaaa"), row(b"bbbbb")], [row(b"cc")], [done()]]))
    sink = sink_type()
    result = dump(ROUTES, sink, opener=kernel)
    assert sink.payloads == [b"aaaa", b"bbbbb", b"cc"]
    assert (result.consistent, result.attempts, result.detail) == (True, 1, "")
    assert result.octets == len(sink.octets)
    assert result.messages == (3 if sink_type is Rows else None)
    assert kernel.opened[0].closed


@SINKS
def test_done_may_share_a_datagram_with_the_last_rows(sink_type: type[Rows]) -> None:
    sink = sink_type()
    dump(ROUTES, sink, opener=Kernel(ScriptedSocket([[row(b"aaaa"), row(b"bb"), done()]])))
    assert sink.payloads == [b"aaaa", b"bb"]


@SINKS
def test_the_error_of_a_dump_stands_in_done(sink_type: type[Rows]) -> None:
    with pytest.raises(NetlinkError) as caught:
        dump(ROUTES, sink_type(), opener=Kernel(ScriptedSocket([[done(errno.EINVAL, "Invalid header")]])))
    assert (caught.value.errno, caught.value.extack) == (errno.EINVAL, "Invalid header")
    assert caught.value.strerror == "Invalid argument: Invalid header"


@SINKS
def test_the_error_of_a_dump_stands_in_done_behind_rows(sink_type: type[Rows]) -> None:
    with pytest.raises(NetlinkError) as caught:
        dump(ROUTES, sink_type(), opener=Kernel(ScriptedSocket([[row(b"aaaa"), done(errno.EPERM)]])))
    assert (caught.value.errno, caught.value.extack) == (errno.EPERM, "")


@SINKS
@pytest.mark.parametrize("echo", [None, b"the whole request!!"])
def test_a_refusal_carries_the_kernels_sentence(sink_type: type[Rows], echo: bytes | None) -> None:
    script = [[error(errno.ENOENT, "ipv4: FIB table does not exist", echo=echo)]]
    with pytest.raises(NetlinkError, match="No such file or directory: ipv4: FIB table does not exist"):
        dump(ROUTES, sink_type(), opener=Kernel(ScriptedSocket(list(script))))


@SINKS
@pytest.mark.parametrize(
    "interrupted",
    [
        [[row(b"aaaa", MULTI | INTR), row(b"bbbb")], [done()]],
        [[row(b"aaaa"), row(b"bbbb", MULTI | INTR), row(b"cccc")], [done()]],
        [[row(b"aaaa"), row(b"bbbb", MULTI | INTR)], [done()]],
        [[row(b"aaaa")], [done(flags=MULTI | INTR)]],
        [[row(b"aaaa"), done(flags=MULTI | INTR)]],
    ],
    ids=["first message", "middle", "last", "done alone", "done behind a row"],
)
def test_an_interrupted_dump_is_read_again(sink_type: type[Rows], interrupted: list[object]) -> None:
    kernel = Kernel(ScriptedSocket(list(interrupted)), ScriptedSocket([[row(b"dddd")], [done()]]))
    sink = sink_type()
    result = dump(ROUTES, sink, opener=kernel)
    assert (result.consistent, result.attempts) == (True, 2)
    assert sink.payloads == [b"dddd"], "rows of the first attempt must not be left over"
    assert sink.resets == 1
    assert all(opened.closed for opened in kernel.opened)


@SINKS
def test_after_the_last_attempt_rows_are_kept_and_called_inconsistent(sink_type: type[Rows]) -> None:
    def play() -> ScriptedSocket:
        return ScriptedSocket([[row(b"aaaa", MULTI | INTR)], [row(b"bbbb")], [done()]])

    sink = sink_type()
    result = dump(ROUTES, sink, attempts=3, opener=Kernel(play(), play(), play()))
    assert (result.consistent, result.attempts) == (False, 3)
    assert "NLM_F_DUMP_INTR" in result.detail
    assert sink.payloads == [b"aaaa", b"bbbb"], "the last attempt is read to its end"


@pytest.mark.parametrize("heard", [Raw(bytes(16)), refused(errno.ENOBUFS)], ids=["a message", "an overrun"])
def test_anything_the_guard_hears_is_a_change(heard: object) -> None:
    play = [[row(b"aaaa")], [done()]]
    guards = [ScriptedSocket([], [heard]) for _ in range(2)]
    talks = [ScriptedSocket(list(play)) for _ in range(2)]
    kernel = Kernel(guards[0], talks[0], guards[1], talks[1])
    sink = Rows()
    result = dump(GUARDED, sink, attempts=2, opener=kernel)
    assert (result.consistent, result.attempts, sink.payloads) == (False, 2, [b"aaaa"])
    assert "changed while reading" in result.detail
    assert guards[0].options == [(nl.NETLINK_ADD_MEMBERSHIP, nl.RTNLGRP_IPV4_ROUTE)]
    assert all(opened.closed for opened in kernel.opened)


def test_a_silent_guard_means_consistent() -> None:
    kernel = Kernel(ScriptedSocket([], []), ScriptedSocket([[row(b"aaaa")], [done()]]))
    assert dump(GUARDED, Rows(), opener=kernel).consistent


@SINKS
def test_others_are_not_listened_to(sink_type: type[Rows]) -> None:
    forged = Raw(message(nl.RTM_NEWROUTE, MULTI, b"evil"), sender=666)
    stale = Raw(message(nl.RTM_NEWROUTE, MULTI, b"old!", seq=1, pid=4711))
    foreign_port = Raw(message(nl.NLMSG_DONE, MULTI, bytes(4), seq=1, pid=99))
    noop = [(nl.NLMSG_NOOP, 0, b""), row(b"aaaa")]
    sink = sink_type()
    dump(ROUTES, sink, opener=Kernel(ScriptedSocket([forged, stale, foreign_port, noop, [done()]])))
    assert b"evil" not in sink.octets
    if sink_type is Rows:
        assert sink.payloads == [b"aaaa"]


@SINKS
def test_a_truncated_message_is_an_error(sink_type: type[Rows]) -> None:
    cut = Raw(message(nl.RTM_NEWROUTE, MULTI, bytes(64)), flags=socket.MSG_TRUNC)
    with pytest.raises(NetlinkError) as caught:
        dump(ROUTES, sink_type(), opener=Kernel(ScriptedSocket([cut])))
    assert caught.value.errno == errno.EMSGSIZE


@SINKS
@pytest.mark.parametrize("loss", [[refused(errno.ENOBUFS)], [[(nl.NLMSG_OVERRUN, 0, b"")]]], ids=["errno", "message"])
def test_lost_rows_are_read_again_and_in_the_end_an_error(sink_type: type[Rows], loss: list[object]) -> None:
    sink = sink_type()
    fine = ScriptedSocket([[row(b"bbbb")], [done()]])
    result = dump(ROUTES, sink, opener=Kernel(ScriptedSocket([[row(b"aaaa")], *loss]), fine))
    assert (result.consistent, result.attempts, sink.payloads) == (True, 2, [b"bbbb"])
    with pytest.raises(NetlinkError) as caught:
        dump(ROUTES, sink_type(), attempts=2, opener=Kernel(ScriptedSocket(list(loss)), ScriptedSocket(list(loss))))
    assert caught.value.errno == errno.ENOBUFS


def test_the_deadline_ends_a_silent_dump() -> None:
    quiet = ScriptedSocket([[row(b"aaaa")]])
    sink = Rows()
    with pytest.raises(NetlinkTimeout) as caught:
        dump(ROUTES, sink, deadline=time.monotonic() + 5, opener=Kernel(quiet))
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.errno == errno.ETIMEDOUT
    assert sink.payloads == [b"aaaa"]
    assert all(wait is not None and 0 < wait <= 5 for wait in quiet.timeouts)
    assert quiet.closed


def test_a_deadline_in_the_past_asks_nothing_of_the_socket() -> None:
    with pytest.raises(NetlinkTimeout):
        dump(ROUTES, Rows(), deadline=time.monotonic() - 1, opener=Kernel(ScriptedSocket([[row(b"aaaa")]])))


def test_options_are_set_and_their_absence_is_borne() -> None:
    class Old(ScriptedSocket):
        def setsockopt(self, level: int, option: int, value: int, /) -> None:
            super().setsockopt(level, option, value)
            raise refused(errno.ENOPROTOOPT)

    old = Old([[done()]])
    assert dump(ROUTES, Rows(), opener=Kernel(old)).consistent
    assert {option for option, _ in old.options} == {nl.NETLINK_GET_STRICT_CHK, nl.NETLINK_EXT_ACK, nl.NETLINK_CAP_ACK}


@pytest.mark.parametrize("step", ["setsockopt", "bind", "sendto", "recvmsg_into"])
def test_an_errno_of_the_socket_is_a_netlink_error(step: str) -> None:
    def fail(*_: object) -> None:
        raise refused(errno.EPERM)

    broken = ScriptedSocket([[done()]])
    setattr(broken, step, fail)
    with pytest.raises(NetlinkError) as caught:
        dump(ROUTES, Rows(), opener=Kernel(broken))
    assert caught.value.errno == errno.EPERM
    assert broken.closed


class Answering(ScriptedSocket):
    """Answers each pack of requests with what ``answer`` makes of (position in the pack, sequence number)."""

    def __init__(self, answers: list[object]) -> None:
        super().__init__([])
        self.answers = answers
        self.packs: list[int] = []

    def sendto(self, octets: bytes, address: tuple[int, int], /) -> int:
        size = super().sendto(octets, address)
        self.packs.append(len(self.sequences))
        for seq in self.sequences:
            if not self.answers:
                return size
            answer = self.answers.pop(0)
            if isinstance(answer, OSError):
                self.play.append(answer)
                return size
            assert isinstance(answer, tuple)
            kind, flags, payload = answer
            self.play.append(Raw(message(kind, flags, payload, seq)))
        return size


def reply_rows(replies: list[Reply]) -> list[bytes]:
    return [reply.octets[16:] for reply in replies]


def test_a_batch_answers_in_order_with_each_ones_own_error() -> None:
    talk = Answering([row(b"aaaa", 0), error(errno.ENETUNREACH, "no way"), row(b"cccc", 0)])
    replies = batch(nl.NETLINK_ROUTE, nl.RTM_GETROUTE, [b"1", b"2", b"3"], opener=Kernel(talk))
    assert reply_rows(replies) == [b"aaaa", b"", b"cccc"]
    assert (replies[1].errno, replies[1].text) == (errno.ENETUNREACH, "no way")


def test_a_batch_goes_out_in_windows() -> None:
    count = 2 * transport.WINDOW + 3
    talk = Answering([row(b"%04d" % number, 0) for number in range(count)])
    replies = batch(nl.NETLINK_ROUTE, nl.RTM_GETROUTE, [b""] * count, opener=Kernel(talk))
    assert reply_rows(replies) == [b"%04d" % number for number in range(count)]
    assert talk.packs == [transport.WINDOW, transport.WINDOW, 3]


def test_replies_that_were_lost_are_asked_for_again() -> None:
    talk = Answering([row(b"aaaa", 0), refused(errno.ENOBUFS), row(b"bbbb", 0), row(b"cccc", 0)])
    replies = batch(nl.NETLINK_ROUTE, nl.RTM_GETROUTE, [b""] * 3, opener=Kernel(talk))
    assert reply_rows(replies) == [b"aaaa", b"bbbb", b"cccc"]
    hopeless = Answering([refused(errno.ENOBUFS) for _ in range(10)])
    with pytest.raises(NetlinkError) as caught:
        batch(nl.NETLINK_ROUTE, nl.RTM_GETROUTE, [b""], opener=Kernel(hopeless))
    assert caught.value.errno == errno.ENOBUFS


def test_an_empty_batch_and_a_batch_that_is_not_answered() -> None:
    assert batch(nl.NETLINK_ROUTE, nl.RTM_GETROUTE, [], opener=Kernel(ScriptedSocket([]))) == []
    with pytest.raises(NetlinkTimeout):
        batch(nl.NETLINK_ROUTE, nl.RTM_GETROUTE, [b""], opener=Kernel(ScriptedSocket([])))


def never(protocol: int) -> ScriptedSocket:
    raise AssertionError(f"a socket of protocol {protocol} was opened")


@pytest.mark.parametrize(
    ("protocol", "kind"),
    [
        *[(nl.NETLINK_ROUTE, kind) for kind in (16, 17, 19, 20, 21, 24, 25, 28, 32, 36, 67, 104, 105)],
        (nl.NETLINK_NETFILTER, 1 << 8 | 3),  # IPCTNL_MSG_CT_GET_CTRZERO
        (nl.NETLINK_NETFILTER, 1 << 8 | 2),  # IPCTNL_MSG_CT_DELETE
        (nl.NETLINK_NETFILTER, 10 << 8 | 21),  # NFT_MSG_GETOBJ_RESET
        (nl.NETLINK_NETFILTER, 11 << 8),
        (nl.NETLINK_SOCK_DIAG, 21),  # SOCK_DESTROY
        (nl.NETLINK_XFRM, 0x1C),  # XFRM_MSG_FLUSHSA
    ],
)
def test_what_is_not_known_to_be_a_read_is_refused_before_a_socket_exists(protocol: int, kind: int) -> None:
    with pytest.raises(ValueError, match="read-only"):
        dump(DumpRequest("x", protocol, kind, b""), Rows(), opener=never)
    with pytest.raises(ValueError, match="read-only"):
        batch(protocol, kind, [b""], opener=never)


def test_a_single_generic_command_is_refused_and_a_batch_cannot_be_made_to_write() -> None:
    with pytest.raises(ValueError, match="read-only"):
        batch(nl.NETLINK_GENERIC, 16, [b""], opener=never)
    with pytest.raises(ValueError, match="single read"):
        batch(nl.NETLINK_ROUTE, nl.RTM_GETROUTE, [b""], flags=0x400, opener=never)


def test_a_protocol_that_the_kernel_does_not_serve_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "served", lambda protocol: False)
    with pytest.raises(NetlinkError) as caught:
        dump(DumpRequest("x", nl.NETLINK_NETFILTER, 1 << 8 | 1, bytes(4)), Rows())
    assert caught.value.errno == errno.EPROTONOSUPPORT


def test_served_reads_the_kernels_own_list() -> None:
    assert sockets.served(nl.NETLINK_ROUTE)
    assert not sockets.served(31)


def test_a_netlink_error_survives_the_way_back_from_a_child() -> None:
    import pickle

    error_ = pickle.loads(pickle.dumps(NetlinkTimeout(errno.ETIMEDOUT, "why")))
    assert type(error_) is NetlinkTimeout
    assert (error_.errno, error_.extack, error_.strerror) == (errno.ETIMEDOUT, "why", "Connection timed out: why")


def test_keys_of_requests_tell_them_apart() -> None:
    keys = [
        requests.routes("inet").key,
        requests.routes("inet6").key,
        requests.routes("inet", table=254).key,
        requests.neighbours().key,
        requests.neighbours(proxy=True).key,
        requests.links().key,
        requests.links(netnsid=3).key,
    ]
    assert len(set(keys)) == len(keys)
    assert not any("\n" in key for key in keys)
