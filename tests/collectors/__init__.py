"""Collectors on real hosts, each held against the stock tool for the same thing."""
