"""Which StaticRoutes are for this node."""
