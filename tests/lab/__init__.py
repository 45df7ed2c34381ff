"""A real Kubernetes cluster on one machine, with real nodes and gateways, and no path to the outside.

Why: what this operator must get right (routes surviving rollouts, reboots, failing gateways, an unreachable API server)
only shows with real kubelets and a real kernel. The lab is a few processes in network namespaces: seconds to start,
nothing left behind, and several fit side by side.

``network`` alone is enough for tests of routes and gateways; ``cluster`` adds Kubernetes on top of it.
`python3 -m tests.lab` runs it from a shell.
"""
