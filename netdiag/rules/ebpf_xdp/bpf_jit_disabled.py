"""What it checks
  Programs that are attached to interfaces or cgroups here are interpreted: the just-in-time compiler is switched off
  (net.core.bpf_jit_enable is 0), or was when they were loaded.

Why it matters
  Every packet costs five to ten times the processor time in those programs. XDP and tc programs that are meant for line
  rate become the bottleneck, and it shows as softirq load only.

Confirm
  sysctl net.core.bpf_jit_enable
  bpftool prog show id PROGRAM (no "jited" in its line)

Fix
  sysctl -w net.core.bpf_jit_enable=1, which is for programs loaded from then on: load those that are attached again.
  The new ones are compiled; nothing else changes.

Not flagged
  Programs that a card runs itself. Programs that are attached nowhere here. A compiler that is off without any program
  attached. Kernels that always compile (CONFIG_BPF_JIT_ALWAYS_ON).

References
  Documentation/admin-guide/sysctl/net.rst bpf_jit_enable; kernel/bpf/core.c bpf_prog_select_runtime()
"""

from collections.abc import Iterator
from typing import Any

from netdiag.index.view import HostView
from netdiag.model.bpf import BpfAttachment
from netdiag.model.finding import Draft, subject
from netdiag.rules.build import HostBuilder
from netdiag.rules.build_bpf import program, tc
from netdiag.rules.shape import Example, Rule

RULE = Rule(
    id="bpf-jit-disabled",
    title="attached eBPF programs are interpreted, not compiled",
    severity="warning",
    confidence="likely",
    reads=("links", "bpf"),
    consults=("sysctls",),
)


def check(view: HostView) -> Iterator[Draft]:
    here = {row.prog_id for row in view.bpf.attachments if view.link(row.ifindex)}
    slow = [one for one in view.bpf.programs if one.id in here and not one.jited and one.ifindex is None]
    if not slow:
        return
    setting = view.sysctl("net.core.bpf_jit_enable")
    first, name = slow[0], slow[0].function or slow[0].name
    many = f" and {len(slow) - 1} more" if len(slow) > 1 else ""
    yield RULE.found(
        subject=subject("sysctl", name="net.core.bpf_jit_enable"),
        message=f"{first.type} program {name} (id {first.id}){many} runs interpreted"
        + (": net.core.bpf_jit_enable is 0" if setting == "0" else ""),
        evidence=[
            (f"program {first.id} jited_prog_len", 0, "BPF_OBJ_GET_INFO_BY_FD"),
            ("net.core.bpf_jit_enable", setting or "unknown", "/proc/sys/net/core/bpf_jit_enable"),
        ],
        confirm=["sysctl net.core.bpf_jit_enable", f"bpftool prog show id {first.id}"],
        fix="sysctl -w net.core.bpf_jit_enable=1  # then load the programs again",
    )


def _host(setting: str | None = "0", **fields: Any) -> HostBuilder:
    host = HostBuilder().link("eth0").bpf(programs=[program(1, **({"jited": False} | fields))])
    return tc(host.sysctl("net.core.bpf_jit_enable", setting) if setting else host, "eth0", 1)


def examples() -> Iterator[Example]:
    yield Example(
        name="switched off",
        why="the plain fault",
        tables=_host().build(),
        fires=1,
        subject=subject("sysctl", name="net.core.bpf_jit_enable"),
        severity="warning",
        says=("bpf_jit_enable is 0",),
    )
    yield Example(name="on again", why="loaded before", tables=_host("1").build(), fires=1)
    yield Example(name="unknown", why="another namespace's setting", tables=_host(None).build(), fires=1)
    yield Example(name="compiled", why="as it should be", tables=_host(jited=True).build())
    yield Example(name="on the card", why="the card runs it", tables=_host(ifindex=2).build())
    away = HostBuilder().bpf(programs=[program(1, jited=False)])
    yield Example(name="attached nowhere", why="it never runs", tables=away.build())
    group = BpfAttachment(hook="cgroup", prog_id=1, attach_type="cgroup_inet_egress", cgroup="/sys/fs/cgroup")
    away.bpf(attachments=[group])
    yield Example(name="at a cgroup", why="not at an interface of this namespace", tables=away.build())
