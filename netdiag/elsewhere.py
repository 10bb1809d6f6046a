"""A finding of another namespace: named after it, with commands that run inside it.

Commands are entered by name (``ip netns exec``), or by the path at which the namespace was reached (``nsenter``). Text
that is no command is left as it is. Pure; nothing can fail.
"""

import shlex

import msgspec

from netdiag.index.spaces import name_of
from netdiag.model.finding import Draft
from netdiag.model.netnsstate import NetnsState

COMMANDS = frozenset(
    (
        "ip",
        "bridge",
        "tc",
        "nft",
        "wg",
        "sysctl",
        "ethtool",
        "ss",
        "ping",
        "arping",
        "tcpdump",
        "conntrack",
        "cat",
        "grep",
    )
)
SHELL = frozenset("|&;<>()$`*?[")
COMMENT = "  # "


def entered(command: str, state: NetnsState) -> str:
    """The command, run inside the namespace; a comment behind it stays behind it."""
    text, comment, rest = command.partition(COMMENT)
    if text.split(" ", 1)[0] not in COMMANDS:
        return command
    if state.name is not None:
        prefix = f"ip netns exec {shlex.quote(state.name)}"
    else:
        prefix = f"nsenter --net={shlex.quote(state.path or '')}"
    if set(text) & SHELL:
        text = f"sh -c {shlex.quote(text)}"
    return f"{prefix} {text}{comment}{rest}"


def placed(draft: Draft, state: NetnsState) -> Draft:
    """The draft, as one of that namespace."""
    finding = msgspec.structs.replace(
        draft.finding,
        netns=name_of(state),
        confirm=tuple(entered(command, state) for command in draft.finding.confirm),
        fix=entered(draft.finding.fix, state),
    )
    return msgspec.structs.replace(draft, finding=finding)
