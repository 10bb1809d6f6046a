"""What runs in the Python workers of a cluster: rules, over batches of rows as mapInPandas hands them out.

netdiag is there because it was sent; msgspec, NumPy, pyarrow and fsspec the workers must have. What goes wrong raises,
and fails the job.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from netdiag.fleet.judge import across_hosts, complete
from netdiag.fleet.judged import Judged, judged
from netdiag.fleet.load import Fleet, view_of
from netdiag.fleet.store.place import Load, place
from netdiag.fleet.store.read import StoredFleet, snapshot_of
from netdiag.model.coverage import NotEvaluated
from netdiag.model.finding import Draft, Evidence, Finding, Subject
from netdiag.rules import discover

if TYPE_CHECKING:
    import pandas as pd

HOSTS = "host string, said binary"
RULES = "rule string, said binary"
"""What comes out: a netdiag.fleet.judged.Judged each, which ``judged_of`` reads."""


def judged_of(octets: bytes) -> Judged:
    """What came out; unlike the model's type a subject between hosts holds a list of them."""
    said = msgspec.msgpack.decode(octets)
    return Judged(
        drafts=tuple(_draft(row) for row in said["drafts"]),
        silent=msgspec.convert(said["silent"], tuple[NotEvaluated, ...]),
    )


def _draft(row: dict[str, Any]) -> Draft:
    fields = row["finding"]
    evidence = msgspec.convert(fields["evidence"], tuple[Evidence, ...])
    texts = {name: tuple(fields[name]) for name in ("confirm", "explains")}
    finding = Finding(**fields | texts | {"evidence": evidence})
    return Draft(finding=finding, touches=tuple(row["touches"]), breaks=tuple(row["breaks"]))


def judge_hosts(batches: "Iterator[pd.DataFrame]") -> "Iterator[pd.DataFrame]":
    """Rows of ``snapshots`` to what the rules say of each host by itself."""
    import pandas as pd

    modules = discover()
    for batch in batches:
        said = [_own(cells, modules) for cells in batch.to_dict("records")]
        yield pd.DataFrame({"host": batch["host"].to_list(), "said": said})


def _own(cells: dict[str, Any], modules: dict[str, Any]) -> bytes:
    return msgspec.msgpack.encode(judged(complete(snapshot_of(cells.get)), modules))


class Between(msgspec.Struct, frozen=True, kw_only=True):
    """Run rules between hosts: over the same store, as the driver saw it."""

    url: str
    night: str | None
    loads: tuple[Load, ...]
    unreached: tuple[str, ...]
    symptoms: dict[str, dict[str, tuple[Subject, ...]]]

    def __call__(self, batches: "Iterator[pd.DataFrame]") -> "Iterator[pd.DataFrame]":
        """Ids of rules to what each says."""
        import pandas as pd

        stored = StoredFleet(place(self.url), self.night, self.loads)
        fleet = Fleet(tuple(stored.hosts()), (), (), stored)
        view = view_of(fleet, unreached=self.unreached, symptoms=self.symptoms)
        modules = discover("fleet")
        for batch in batches:
            names = batch["rule"].to_list()
            answers = [across_hosts(view, {name: modules[name]}) for name in names]
            said = [Judged(drafts=tuple(drafts), silent=tuple(silent)) for drafts, silent in answers]
            yield pd.DataFrame({"rule": names, "said": [msgspec.msgpack.encode(one) for one in said]})
