"""bpf(2) asked in both ways, and what is made of the answers."""
