"""The node: what it is, what is to be done so that it becomes what the configuration says, and doing it."""
