"""Plans carried out in a mount namespace, read back, and kept as they should be; and the worker that does it."""
