"""netdiag says what is wrong with the network of a Linux host, from the kernel's own state, with evidence and fix.

Data flows one way: ``sources`` read raw replies, ``collectors`` turn them into ``model.Snapshot``, ``index`` answers
questions about it, ``rules`` find faults, ``correlate`` orders causes before what they explain, ``render`` prints. A
room imports only from rooms below it; setup.cfg holds that order and ``make lint`` enforces it.

This file imports nothing, so that ``netdiag --help`` pays for nothing.
"""

__version__ = "0.1.0"
