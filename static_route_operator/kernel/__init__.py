"""The routing tables of this node's kernel: read, written and watched over netlink.

The only package that imports pyroute2: its sockets carry the traffic. Route messages are encoded and decoded here in
bulk, since an object per route would cost a hundred times as much as the kernel's own work on it.
"""
