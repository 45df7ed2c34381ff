"""The controller: status, Events, roll-outs and the addresses of the cluster, in one process per cluster."""
