"""Do the groups that environments name exist on this node? Asked by `chosctl check` and `chosctl up`.

Apart from the readers because it asks the name service, which may be slow and differs from node to node. Must
never be asked on the way into an environment.
"""

from __future__ import annotations

import grp
from collections.abc import Callable

from chosns.config.text import quoted
from chosns.model import Problem, Site


def check_groups(site: Site, lookup: Callable[[str], object] = grp.getgrnam) -> tuple[Problem, ...]:
    """An error for every group that is unknown here.

    :param lookup: raises KeyError for a group that does not exist.
    """
    problems = []
    for env in site.environments:
        for group in env.groups:
            try:
                lookup(group)
            except KeyError:
                hint = f"is it spelt right? try: getent group {group}"
                message = f"group {quoted(group)} does not exist on this node"
                problems.append(Problem(env.settings, message, hint, environment=env.name))
    return tuple(problems)
