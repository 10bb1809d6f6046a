"""Reports and tables as text: complete, bounded, and harmless."""
