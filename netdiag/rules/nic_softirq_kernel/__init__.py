"""The kernel below the protocols: cards, soft interrupts, settings of the whole namespace."""
