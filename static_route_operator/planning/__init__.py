"""What should be in this node's kernel, and what has to be done for it. Pure: no I/O, no clock.

::

    StaticRoutes ─▶ selection ─▶ guards ─▶ precedence ─▶ wanted routes ─┐
    facts of the node ─────────────┘                                    ├─▶ diff ─▶ operations
                                              routes found in the FIB ──┘
"""
