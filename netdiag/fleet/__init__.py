"""Many hosts: a folder of snapshots read, judged by the hosts' own rules and by those that need several hosts.

``load`` reads the folder, ``judge`` makes the report; the rules are in netdiag/rules with ``scope="fleet"`` and see
netdiag.index.fleet.FleetView. What is not here yet: collecting (sweep), a store, SQL.
"""
