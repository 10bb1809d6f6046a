"""What a host is, and what a finding is: typed, frozen, no input or output.

Everything that netdiag knows about a host passes through the types of this room, whether it was read live, loaded
from a
snapshot, replayed from a recording or joined from a fleet. ``None`` always means "not set" or "not known"; ``0`` and
``""`` are values. Nothing here imports another room.
"""
