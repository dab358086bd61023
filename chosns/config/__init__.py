"""The configuration of a node: /etc/chos, /etc/chos.conf, /etc/chos.d and /etc/sysconfig/chos.

`read_site` reads it all and never stops at the first mistake. The readers beside it are pure functions over
text; only `site` and `trusted` open files, and only `groups` asks the name service. Must never write, and never run
anything. Called by `cli`, `node.act` and `doctor`.
"""

from __future__ import annotations

from chosns.config.groups import check_groups
from chosns.config.site import broken, read_site, require_usable, shipped_bindmap_dirs

__all__ = ["broken", "check_groups", "read_site", "require_usable", "shipped_bindmap_dirs"]
