"""Rules about eBPF programs: where they are attached, and what keeps them and their maps alive."""
