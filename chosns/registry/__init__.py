"""What is prepared on this node, /run/chos: docs/registry.md is its format. C reads nothing else.

`reader` and `writer` know the files, `formats` their text, `mount` the file system that they are on, `access` who may
go in, `names` which name leads where, `excess` what a generation allows more than the configuration, `records` the
file where jobs are recorded.
"""

from __future__ import annotations

from chosns.registry.reader import PATH, Generation, Registry, open_registry

__all__ = ["PATH", "Generation", "Registry", "open_registry"]
