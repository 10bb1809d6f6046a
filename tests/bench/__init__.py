"""How fast netdiag reads, as ratios to the netlink floor and to the stock commands, measured in one run."""
