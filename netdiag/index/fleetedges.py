"""Every WireGuard peer entry of a fleet as columns: a rule that asks a question of a million of them asks NumPy.

A row is an entry of one end (a device with its host) for a key. ``far`` is the end that holds that key, ``back`` the
row of the far end for the near one. Rows stand in the order of the ends, and of the device's peers. Pure; nothing can
fail.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from netdiag.model.distinct import among

HANDSHAKE_LIFE = 180.0
"""Seconds after which the keys of a handshake are dead (drivers/net/wireguard/messages.h REJECT_AFTER_TIME)."""
UNKNOWN = -1

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class PeerColumns:
    """What is read of the entries. All arrays have the length n."""

    near: npt.NDArray[np.int32]
    """Position of the end."""
    place: npt.NDArray[np.int32]
    """Position among the peers of the device."""
    key: npt.NDArray[np.int32]
    """Position in ``keys`` of the peer's public key."""
    keys: Sequence[str]
    """Public keys, each once."""
    called: Mask
    """An endpoint is known."""
    keepalive: npt.NDArray[np.int32]
    """Seconds; 0: off."""
    age: npt.NDArray[np.float64]
    """Seconds since the last handshake when the host was read; NaN: never."""
    done: npt.NDArray[np.float64]
    """Unix time of that handshake, by the near host's clock; NaN: never."""
    sent: npt.NDArray[np.int64]
    heard: npt.NDArray[np.int64]
    """Bytes between two looks, or since the snapshot before; -1: one look, or a reset."""
    allowed: npt.NDArray[np.int32]
    """Position in ``allowances``."""
    allowances: Sequence[tuple[str, ...]]
    """Lists of allowed prefixes, each once."""


Fetch = Callable[[Sequence[tuple[str, str]]], PeerColumns]
"""Gives the columns of a store for ends named by (host, ifname), in this order."""


@dataclass(frozen=True)
class Edges:
    """The columns, joined on public keys."""

    columns: PeerColumns
    own: Sequence[str]
    """Public key of each end."""

    def __len__(self) -> int:
        return len(self.columns.near)

    @cached_property
    def own_of(self) -> dict[str, int]:
        """Position in ``keys`` of a key."""
        return {key: position for position, key in enumerate(self.columns.keys)}

    def among(self, keys: "set[str]") -> Mask:
        """Entries for one of these keys."""
        found: Mask = among(self.columns.key, [self.own_of[key] for key in keys if key in self.own_of])
        return found

    def combinations(self) -> tuple[npt.NDArray[np.int64], list[tuple[int, tuple[str, ...]]]]:
        """For each entry the position among the distinct pairs of (far end, allowed prefixes), and those pairs."""
        width = max(len(self.columns.allowances), 1)
        code = self.far.astype(np.int64) * width + self.columns.allowed
        distinct, back = np.unique(code, return_inverse=True)
        pairs = [(int(one // width), self.columns.allowances[int(one % width)]) for one in distinct]
        return back.reshape(-1), pairs

    @cached_property
    def end_of_key(self) -> npt.NDArray[np.int32]:
        """For each key the end that holds it; -1: none of the fleet."""
        ends = {key: position for position, key in enumerate(self.own)}
        return np.array([ends.get(key, UNKNOWN) for key in self.columns.keys], np.int32)

    @cached_property
    def far(self) -> npt.NDArray[np.int32]:
        """Position of the far end; -1: no host of the fleet holds that key."""
        return self.end_of_key[self.columns.key] if len(self) else np.empty(0, np.int32)

    @cached_property
    def back(self) -> npt.NDArray[np.int64]:
        """Row of the far end's entry for the near end; -1: it has none, or is not known."""
        count = max(len(self.own), 1)
        near, far = self.columns.near.astype(np.int64), self.far.astype(np.int64)
        known = np.flatnonzero(far >= 0)
        back = np.full(len(self), UNKNOWN, np.int64)
        if not len(known):
            return back
        forward = near[known] * count + far[known]
        order = np.argsort(forward, kind="stable")
        ordered = forward[order]
        wanted = far[known] * count + near[known]
        at = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
        found = ordered[at] == wanted
        back[known[found]] = known[order[at[found]]]
        return back

    @cached_property
    def alive(self) -> Mask:
        """Its keys are alive."""
        with np.errstate(invalid="ignore"):
            found: Mask = self.columns.age <= HANDSHAKE_LIFE
        return found

    @property
    def moved(self) -> Mask:
        """It is known what it sent and heard."""
        found: Mask = self.columns.sent >= 0
        return found

    @cached_property
    def dead(self) -> Mask:
        """The near end wants to talk and hears nothing: dead keys, and bytes that go out or a keepalive."""
        columns = self.columns
        with np.errstate(invalid="ignore"):
            late = np.isnan(columns.age) | (columns.age > HANDSHAKE_LIFE * 2)
        spoke = self.moved & ((columns.sent > 0) | (columns.heard > 0))
        silent = np.where(spoke, columns.heard == 0, (columns.keepalive > 0) & late)
        found: Mask = ~self.alive & columns.called & silent
        return found

    def meshes(self) -> npt.NDArray[np.int64]:
        """For each key the number of its mesh: what is joined by entries, over any number of steps."""
        ends_key = {key: position for position, key in enumerate(self.columns.keys)}
        total = len(self.columns.keys)
        own = [ends_key.get(key, total + position) for position, key in enumerate(self.own)]
        label = np.arange(total + len(self.own), dtype=np.int64)
        near, far = np.array(own, np.int64)[self.columns.near], self.columns.key.astype(np.int64)
        while True:
            lower = np.minimum(label[near], label[far])
            after = label.copy()
            np.minimum.at(after, near, lower)
            np.minimum.at(after, far, lower)
            after = after[after]
            if np.array_equal(after, label):
                return label
            label = after


def columns_of(rows: Sequence[tuple[Any, ...]]) -> PeerColumns:
    """Columns from rows of (near, place, key, called, keepalive, age or None, (sent, heard) or None, allowed, Unix time
    when it was looked at)."""
    keys: dict[str, int] = {}
    allowances: dict[tuple[str, ...], int] = {}
    near, place, key, called, keepalive, age, moved, allowed, looked = zip(*rows, strict=True) if rows else ((),) * 9
    key_codes = [keys.setdefault(one, len(keys)) for one in key]
    allowed_codes = [allowances.setdefault(one, len(allowances)) for one in allowed]
    ages = np.array([np.nan if one is None else one for one in age], np.float64)
    return PeerColumns(
        near=np.array(near, np.int32),
        place=np.array(place, np.int32),
        key=np.array(key_codes, np.int32),
        keys=list(keys),
        called=np.array(called, np.bool_),
        keepalive=np.array(keepalive, np.int32),
        age=ages,
        done=np.array(looked, np.float64) - ages,
        sent=np.array([UNKNOWN if one is None else one[0] for one in moved], np.int64),
        heard=np.array([UNKNOWN if one is None else one[1] for one in moved], np.int64),
        allowed=np.array(allowed_codes, np.int32),
        allowances=list(allowances),
    )
