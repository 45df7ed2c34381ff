"""The verbs of the command line: one module each, which defines ``command``.

A module is loaded when its verb is used, so that `--help`, `--version` and each verb start without the libraries of the
others. In a verb that asks either the cluster or this host, netlink is imported where the host is asked: it exists only
on Linux, and the cluster is asked from any machine.
The controller is imported when it runs, since its Kubernetes client is an extra of the package.
"""

# Summaries for the list of verbs, which `--help` shows without loading the modules.
SUMMARIES = {
    "agent": "Keep the routes of a node (the DaemonSet runs this).",
    "bundle": "Write a support archive: objects, states, logs and kernel tables.",
    "completion": "Print the script that completes verbs and flags in a shell.",
    "controller": "Write statuses and Events (a Deployment runs this).",
    "diff": "Compare desired and installed routes.",
    "explain": "Show which way packets take on each node, and why.",
    "gateways": "Show which gateways are up, since when, and their round-trip times.",
    "log-level": "Show or change the log level of running processes.",
    "plan": "Show what StaticRoutes would change, without changing it.",
    "routes": "Show the routes of a host or node, and their StaticRoutes.",
    "run": "Keep the routes of a host without Kubernetes.",
    "snapshot": "Show links, addresses, rules and routes of this host's kernel.",
    "status": "Show the whole cluster at a glance.",
    "validate": "Check StaticRoutes in files, without a cluster.",
}
