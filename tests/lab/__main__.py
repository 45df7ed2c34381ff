"""A real Kubernetes cluster on one machine, in network namespaces, with no path to the outside.

python3 -m tests.lab VERB …
  up [NODES] [--bare] [--operator] [--apiserver-arg=FLAG]…
                       start NODES nodes (3) and wait until they are Ready; with --bare, without containerd and kubelet;
                       with --operator, install the image that `make image-tar` built of this tree
  down                 kill and remove all of it
  kubectl ARGUMENT…    run kubectl as administrator
  shell                a shell for which kubectl and its plugin, `kubectl static-route`, are at hand, as administrator
  node N COMMAND…      run a command on node N
  in MACHINE COMMAND…  run a command on a machine: cp, gw1, gw2, web, fab, nodeN
  load IMAGE.tar       load a docker-archive into all nodes
  kill-node N          cut a node's power; its network stays
  start-node N         start a node, killed or new
  stop-api             kill the API server
  start-api            start it again
  build PART…          build programs, which takes minutes the first time: kubernetes, api-servers, helm
  packages             list the Debian packages that the lab needs

Environment:
  LAB_PREFIX    another lab beside the first: starts the names of its namespaces (sr)
  KUBE_VERSION  the Kubernetes to build and start, as in v1.34.4
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.lab import binaries, programs, release, versions
from tests.lab.cluster import Cluster
from tests.lab.commands import Argument
from tests.lab.errors import LabError
from tests.lab.network import Network

PARTS = {
    "kubernetes": [binaries.kubernetes(), binaries.etcd()],
    "api-servers": [binaries.api_server(version) for version in versions.PROMISED],
    "helm": [binaries.helm()],
}


def main(arguments: Sequence[str]) -> int:  # noqa: C901, PLR0912 - a case for each verb
    """Do what the arguments say and return the exit status."""
    prefix = os.environ.get("LAB_PREFIX") or "sr"
    match arguments:
        case ["up", *options]:
            up(prefix, options)
        case ["down"]:
            Cluster(prefix).down()
        case ["kubectl", *command]:
            become(Cluster.running(prefix).kubectl_command(*command))
        case ["shell"]:
            become(Cluster.running(prefix).administer_command(os.environ.get("SHELL") or "/bin/sh"))
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
        case ["build", *parts] if parts and all(part in PARTS for part in parts):
            for part in parts:
                for build in PARTS[part]:
                    build.run()
        case ["packages"]:
            print(*programs.packages())
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


def up(prefix: str, options: Sequence[str]) -> None:
    """Take a cluster up and say so."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.lab up")
    parser.add_argument("nodes", nargs="?", type=int, default=3)
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--operator", action="store_true")
    parser.add_argument("--apiserver-arg", action="append", default=[])
    chosen = parser.parse_args(options)
    started = time.monotonic()
    cluster = Cluster(prefix, chosen.nodes, bare=chosen.bare, apiserver_args=chosen.apiserver_arg).up()
    if chosen.operator:
        release.install(cluster)
    print(f"lab {prefix} is up with {chosen.nodes} nodes after {time.monotonic() - started:.0f} s: try")
    print("  python3 -m tests.lab kubectl get nodes -o wide")
    print("  python3 -m tests.lab shell  # with kubectl, and with the operator's command line as its plugin")
    print("  python3 -m tests.lab node 1 curl http://203.0.113.145  # answers with the address that the site sees")
    print("  python3 -m tests.lab down")


def become(command: Sequence[Argument]) -> None:
    """Replace this process by a command, so that it has the terminal, the signals and the exit status."""
    words = [str(word) for word in command]
    os.execvp(words[0], words)  # noqa: S606 - the person's own command


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        sys.exit(f"lab: {error}")
