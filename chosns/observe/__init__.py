"""Observing a node: which process lives in which environment, what state everything is in. Changes nothing."""
