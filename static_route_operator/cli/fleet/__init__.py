"""Questions to a cluster: to the API server, and to the agents on all nodes.

Both are asked through the user's `kubectl`, so that every login that it supports works here too. The user needs the
rights to read StaticRoutes and NodeRouteStates, and to list and exec into pods in the namespace of the operator.
"""
