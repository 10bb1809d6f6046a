"""Rules about the clock."""
