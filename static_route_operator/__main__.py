"""Entry point of `python -m static_route_operator`."""

from static_route_operator.cli import main

main()
