"""Rules about network namespaces, virtual machines and the taps between them and the host."""
