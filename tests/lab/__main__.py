"""A real Kubernetes cluster on one machine, in network namespaces, with no path to the outside.

python3 -m tests.lab VERB …
  up [NODES] [--bare] [APISERVER_FLAG…]
                       start NODES nodes (3) and wait until they are Ready; with --bare, without containerd and kubelets
  down                 kill and remove all of it
  kubectl ARGUMENT…    run kubectl as administrator
  node N COMMAND…      run a command on node N
  in MACHINE COMMAND…  run a command on a machine: cp, gw1, gw2, web, fab, nodeN
  load IMAGE.tar       load a docker-archive into all nodes
  kill-node N          cut a node's power; its network stays
  start-node N         start a node, killed or new
  stop-api             kill the API server
  start-api            start it again
  build                only build the cluster's programs: minutes the first time; up does it too
  packages             list the Debian packages that the lab needs

Environment:
  LAB_PREFIX    another lab beside the first: starts the names of its namespaces (sr)
  KUBE_VERSION  the Kubernetes to build and start (v1.37.2)
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.lab import binaries, programs
from tests.lab.cluster import Cluster
from tests.lab.commands import Argument
from tests.lab.errors import LabError
from tests.lab.network import Network


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say and return the exit status."""
    prefix = os.environ.get("LAB_PREFIX") or "sr"
    match arguments:
        case ["up", *options]:
            up(prefix, options)
        case ["down"]:
            Cluster(prefix).down()
        case ["kubectl", *command]:
            become(Cluster.running(prefix).kubectl_command(*command))
        case ["node", number, *command] if command:
            become(Network(prefix).namespace(f"node{number}").enter(command))
        case ["in", machine, *command] if command:
            become(Network(prefix).namespace(machine).enter(command))
        case ["load", archive]:
            Cluster.running(prefix).load_image(Path(archive))
        case ["kill-node", number] if number.isdecimal():
            Cluster.running(prefix).kill_node(int(number))
        case ["start-node", number] if number.isdecimal():
            Cluster.running(prefix).start_node(int(number))
        case ["stop-api"]:
            Cluster.running(prefix).stop_api()
        case ["start-api"]:
            Cluster.running(prefix).start_api()
        case ["build"]:
            binaries.build()
        case ["packages"]:
            print(*programs.packages())
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


def up(prefix: str, options: Sequence[str]) -> None:
    """Take a cluster up and say so."""
    nodes = next((int(option) for option in options if option.isdecimal()), 3)
    flags = [option for option in options if option.startswith("--") and option != "--bare"]
    started = time.monotonic()
    Cluster(prefix, nodes, bare="--bare" in options, apiserver_args=flags).up()
    print(f"lab {prefix} is up with {nodes} nodes after {time.monotonic() - started:.1f} s")


def become(command: Sequence[Argument]) -> None:
    """Replace this process by a command, so that it has the terminal, the signals and the exit status."""
    words = [str(word) for word in command]
    os.execvp(words[0], words)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        sys.exit(f"lab: {error}")
