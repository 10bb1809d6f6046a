"""Tests of netdiag.sources.bird."""
