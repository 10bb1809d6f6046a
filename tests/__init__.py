"""Tests of netdiag; the folders mirror the package, beside lab/ (hosts), drills/ (live faults) and vm/ (a guest)."""
