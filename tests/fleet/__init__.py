"""Live fleets, collected and judged."""
