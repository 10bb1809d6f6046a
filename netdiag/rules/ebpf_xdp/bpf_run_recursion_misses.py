"""What it checks
  An eBPF program was skipped, since the baseline, because it was already running on that processor (recursion_misses).

Why it matters
  A tracing program that is called from within itself, by a helper that it calls or by an interrupt, is not run again:
  the event is missing from what it counts, and nothing else says so. Graphs and traces have holes at high load.

Confirm
  bpftool prog show name NAME        (recursion_misses)

Fix
  Attach the program to a place that its own helpers do not pass, or split it. Counts of that time are too low.

Not flagged
  Misses of the past: only what was added since the baseline counts, of a program that is the same since then. It is an
  info. Without a baseline: not evaluated.

References
  kernel/bpf/trampoline.c bpf_prog_inc_misses_counter(); struct bpf_prog_info recursion_misses (Linux 5.12)
"""

from collections.abc import Iterator

from netdiag.index.view import HostView
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program
from netdiag.rules.expected import since
from netdiag.rules.shape import Example, Rule, quoted

RULE = Rule(
    id="bpf-run-recursion-misses",
    title="an eBPF program was skipped while it was already running",
    severity="info",
    reads=("bpf", "baseline"),
    machine_wide=True,
)


def check(view: HostView) -> Iterator[Draft]:
    old = view.baseline
    if old is None or old.meta.boot_id != view.meta.boot_id:
        return
    before = {(row.id, row.tag): row.recursion_misses for row in old.bpf.programs}
    for row in view.bpf.programs:
        missed = row.recursion_misses - before.get((row.id, row.tag), row.recursion_misses)
        name = row.function or row.name or row.tag
        if missed > 0:
            yield RULE.found(
                subject=subject("bpf-program", name=name),
                message=f"{name} was skipped {missed} times {since(old)}, because it was already running: what it"
                " counts is too low",
                evidence=[
                    (f"program {row.id} recursion_misses", row.recursion_misses, "BPF_OBJ_GET_INFO_BY_FD"),
                    ("the same at the baseline", row.recursion_misses - missed, "the baseline"),
                ],
                confirm=[f"bpftool prog show tag {quoted(row.tag)}"],
                fix=f"attach {name} where its own helpers do not pass, or split it",
            )


def examples() -> Iterator[Example]:
    def host(misses: int, number: int = 1) -> HostBuilder:
        return HostBuilder().bpf(programs=[program(number, "spy", type="tracing", recursion_misses=misses)])

    def case(name: str, why: str, made: HostBuilder, fires: int = 0, *, told: bool = True) -> Example:
        before = host(5).build() if told else None
        return Example(name=name, why=why, tables=made.build(), fires=fires, baseline=before, unjudged=not told)

    yield case("more than then", "events are missing", host(6), 1)
    yield case("as many as then", "the past", host(5))
    yield case("another program", "loaded since", host(9, 2))
    yield case("no baseline", "a total says nothing", host(6), told=False)
    for fields, name in (
        ({"function": "spy_of_somebody_else"}, "spy_of_somebody_else"),
        ({"function": None}, "spy"),
        ({"function": None, "name": ""}, "aa" * 8),
    ):
        one = program(1, **({"name": "spy", "type": "tracing", "recursion_misses": 6} | fields))  # type: ignore[arg-type]
        about = subject("bpf-program", name=name)
        made = HostBuilder().bpf(programs=[one]).build()
        yield Example(
            name=f"named {name}", why="as told", tables=made, fires=1, subject=about, baseline=host(5).build()
        )
    again = host(6).build()
    yield Example(name="booted since", why="it counts anew", tables=again, baseline=host(5).build(), rebooted=True)
