"""The sweep: snapshots of all hosts of an inventory, in one folder, with a ledger of what became of each.

``run`` gives every host a slot and a deadline, ``transport`` says what a way to a host is, ``ssh`` is the one there is,
``accept`` decides whether what came is that host's snapshot, ``ledger`` remembers it so that a killed sweep goes on.
Every host ends as collected, unreached or refused; nothing half-written ever has its final name.
"""
