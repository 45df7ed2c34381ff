"""The desired state of a node's kernel, and the operations that lead there. Pure: no I/O, no clock.

::

    StaticRoutes ─▶ gateway selection ─▶ guards ─▶ precedence ─▶ desired routes and rules ─┐
    facts of the node ────────────────────┘                                                ├─▶ diff ─▶ operations
                                                       installed routes and rules ─────────┘
"""
