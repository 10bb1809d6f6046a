"""What a program can return, read from its instructions: small programs and gates often return constants only.

Follows every path through the main function from the first instruction and keeps, for each register, the constants that
it can hold (Documentation/bpf/standardization/instruction-set.rst). Whatever is loaded, computed or returned by a call
is unknown. A tail call hands the verdict to another program, which makes it unknown as well. Nothing is run. Pure.
"""

from struct import iter_unpack

LIMIT = 4096
"""Instructions of one program; a longer one is not followed."""
VALUES = 8
"""Constants of one register; more count as unknown."""
STEPS = 40_000

LD, LDX, STX, ALU, JMP, JMP32, ALU64 = 0, 1, 3, 4, 5, 6, 7
IMM64, MOV, CALL, EXIT, GOTO = 0x18, 0xB0, 0x80, 0x90, 0x00
TAIL_CALL = 12
"""The constant of a tail call: the kernel gives its own instruction for it out as this call (bpf_insn_prepare_dump(),
kernel/bpf/syscall.c). Those of other helpers are distances in its text, which are multiples of 16."""
FROM_REGISTER, FETCH = 0x08, 0x01

Register = frozenset[int] | None
State = tuple[Register, ...]
Instruction = tuple[int, int, int, int]
"""Opcode, registers (target in the low four bits), offset, constant."""


def _join(a: State, b: State) -> State:
    return tuple(None if x is None or y is None or len(x | y) > VALUES else x | y for x, y in zip(a, b, strict=True))


def _with(state: State, register: int, value: Register) -> State:
    return state if register > 9 else (*state[:register], value, *state[register + 1 :])


def _move(state: State, one: Instruction, *, wide: bool) -> State:
    code, registers, offset, constant = one
    target, source = registers & 15, registers >> 4
    if not code & FROM_REGISTER:
        value: Register = frozenset((constant if wide else constant & 0xFFFFFFFF,))
    else:
        held = state[source] if source < 10 and not offset else None
        value = held if held is None or wide else frozenset(number & 0xFFFFFFFF for number in held)
    return _with(state, target, value)


def _straight(state: State, one: Instruction) -> State:
    """After an instruction that is no jump."""
    code, registers, _, constant = one
    kind = code & 7
    if kind in (ALU, ALU64) and code & 0xF0 == MOV:
        return _move(state, one, wide=kind == ALU64)
    if kind in (ALU, ALU64, LDX) or code == IMM64:
        return _with(state, registers & 15, None)
    if kind == LD:
        return _with(state, 0, None)
    if kind == STX and code in (0xC3, 0xDB) and constant & FETCH:
        return _with(_with(state, registers >> 4, None), 0, None)
    return state


def called(text: bytes) -> list[tuple[int, Register, Register]] | None:
    """Every helper that the main function calls: the constant of the call, and what its first two arguments can be;
    None where not every path could be followed. Functions of the program's own are not looked into."""
    code = _decoded(text)
    followed = _follow(code) if code else None
    if followed is None:
        return None
    return [
        (code[at][3], state[1], state[2])
        for at, state in followed[0].items()
        if code[at][0] == (JMP | CALL) and code[at][1] >> 4 == 0
    ]


def returned(text: bytes) -> tuple[int, ...] | None:
    """Every value that the program can return, as signed 32-bit numbers; None where they are not all constants."""
    code = _decoded(text)
    followed = _follow(code) if code else None
    if followed is None or followed[1] is None:
        return None
    return tuple(sorted(followed[1]))


def _decoded(text: bytes) -> list[Instruction]:
    code = list(iter_unpack("=BBhi", text[: len(text) // 8 * 8]))
    return code if len(code) <= LIMIT else []


def _follow(code: list[Instruction]) -> tuple[dict[int, State], set[int] | None] | None:
    """What the registers hold before each instruction, and what is returned (None: not all constants). None: given
    up."""
    states: dict[int, State] = {0: (None,) * 10}
    waiting, steps = [0], 0
    verdicts: set[int] | None = set()
    while waiting:
        at = waiting.pop()
        steps += 1
        if steps > STEPS or at >= len(code):
            return None
        one, state = code[at], states[at]
        opcode, kind, operation = one[0], one[0] & 7, one[0] & 0xF0
        after = [at + (2 if opcode == IMM64 else 1)]
        if kind in (JMP, JMP32):
            if operation == EXIT:
                if state[0] is None:
                    verdicts = None
                elif verdicts is not None:
                    verdicts |= {(number + 0x80000000) % 0x100000000 - 0x80000000 for number in state[0]}
                continue
            elif operation == CALL:
                if one[1] >> 4 == 0 and one[3] == TAIL_CALL:
                    verdicts = None
                state = (None,) * 6 + state[6:]
            else:
                jump = at + 1 + (one[3] if kind == JMP32 and operation == GOTO else one[2])
                after = [jump] if operation == GOTO else [*after, jump]
        elif opcode == IMM64 and one[1] >> 4 == 0 and at + 1 < len(code) and not code[at + 1][3]:
            state = _with(state, one[1] & 15, frozenset((one[3] & 0xFFFFFFFF,)))  # no address of a map or function
        else:
            state = _straight(state, one)
        for number in after:
            known = states.get(number)
            joined = state if known is None else _join(known, state)
            if joined != known:
                states[number] = joined
                waiting.append(number)
    return states, verdicts
