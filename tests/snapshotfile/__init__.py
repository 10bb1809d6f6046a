"""The snapshot file: what is written is read back, and nothing else is."""
