"""Rules about BIRD and its BGP sessions."""
