"""Faults as incidents bring them: written down from the side of who broke it, not of the rule that must name it."""
