"""The routing tables of this node's kernel: read, written and watched over netlink.

The only package that imports pyroute2: its sockets carry the traffic, and its message classes read and write policy
rules and neighbours. Messages about routes, and about the links and addresses that every look at a node reads, are
encoded and decoded here in bulk: an object for each message takes several times as long.
"""

from static_route_operator.kernel.lazypackage import import_lazily

# Before any module of this package imports a module of pyroute2.
import_lazily("pyroute2")
