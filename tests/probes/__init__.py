"""Probes: what they plan and conclude, and what they find in a lab."""
