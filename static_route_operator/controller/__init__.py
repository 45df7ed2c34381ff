"""The controller: status, Events, roll-outs and the cluster's addresses, once for the cluster."""
