"""System tests: real mounts, real trees, on a throwaway node (`make system`).

Everything here changes accounts, /etc and mounts, so it refuses to run anywhere else.
"""

from node_fixtures import etc, node, pytest_sessionstart, users

__all__ = ["etc", "node", "pytest_sessionstart", "users"]
