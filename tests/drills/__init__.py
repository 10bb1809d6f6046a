"""Live faults: for each rule that can be injected into a lab host, one drill (README.md, harness.py)."""
