"""Ray's own processes on this machine."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator


@contextlib.contextmanager
def lean_node(*, has_dashboard: bool) -> Iterator[None]:
    """Has Ray start none of the processes that a run does without, for which it has no options: half of its start.

    The log monitor prints what replicas write, which is switched off; the autoscaler scales nothing here, and shows its
    figures to all users of the machine (a port); without a dashboard, its server reports usage statistics alone, which
    are switched off, too.
    """
    import ray._private.node as node
    import ray._private.parameter as parameter

    chosen, start = parameter.RayParams, node.Node.start_api_server
    parameter.RayParams = functools.partial(chosen, include_log_monitor=False, no_monitor=True)
    if not has_dashboard:
        node.Node.start_api_server = lambda *_, **__: None
    try:
        yield
    finally:
        parameter.RayParams, node.Node.start_api_server = chosen, start
