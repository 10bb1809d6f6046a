"""Addresses of this host: who has them, where, and whether they work."""
