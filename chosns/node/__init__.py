"""What a node is now, what has to be done so that it becomes what the configuration says, and doing it."""
