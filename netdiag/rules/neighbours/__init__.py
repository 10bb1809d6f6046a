"""Rules about neighbours: ARP and ND entries, and the kernel's tables of them."""
