"""The backend ns: a mount namespace for each environment.

`backend` looks and builds, `trial` tries the tree's shell, which `confine` and `calls` confine.
"""
