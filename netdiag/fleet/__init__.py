"""Many hosts: a folder of snapshots read, judged by the hosts' own rules and by those that need several hosts.

``inventory`` knows which hosts there are, ``sweep`` collects them into a folder, ``load`` reads the folder, ``judge``
makes the report; the rules are in netdiag/rules with ``scope="fleet"`` and see netdiag.index.fleet.FleetView. What is
not here yet: a store, SQL.
"""
