"""Faults of a whole fleet: hosts, regions and what they share."""
