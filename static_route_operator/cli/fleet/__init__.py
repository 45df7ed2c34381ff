"""What can be asked of a cluster by its user: of the API server, and of the agents on all nodes.

Both are asked through the user's own `kubectl`: whatever it can log in with works here too. It takes the rights to read
StaticRoutes and NodeRouteStates, and to list pods and to exec in the operator's namespace, and no others.
"""
