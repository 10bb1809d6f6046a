"""Live tracing: what the bytes mean, and what the kernel really tells."""
