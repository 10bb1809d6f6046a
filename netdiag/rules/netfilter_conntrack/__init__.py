"""Rules about nftables, iptables and connection tracking."""
