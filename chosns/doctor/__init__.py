"""Looking for what is wrong on a node. Changes nothing."""
