"""The netlink transport and its decoders: on crafted bytes, on scripted sockets, and against `ip -j` in a lab."""
