"""So that `python -m static_route_operator` is the command too."""

from static_route_operator.cli import main

main()
