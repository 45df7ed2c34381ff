"""View of the way that packets take: nodes with the same answer as one group, with the details of the first node."""

from collections.abc import Iterator, Mapping
from typing import Any

from static_route_operator.cli.views.forms import columns, paint, some, unanswered

COLORS = {"Follows": "green"} | dict.fromkeys(("Dropped", "Redirected", "Shadowed", "Missing", "NotHere"), "red")


def table(answer: Mapping[str, Any], *, wide: bool = False) -> Iterator[str]:
    """Show the answer of `explain`; the wide form adds every rule and every route that contains the destination."""
    yield from unanswered(answer["unanswered"])
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for each in answer["nodes"]:
        groups.setdefault((each["verdict"], each["text"], each["cause"]), []).append(each)
    # Problems come first.
    for position, ((verdict, text, cause), nodes) in enumerate(
        sorted(groups.items(), key=lambda item: item[0][0] == "Follows")
    ):
        if position:
            yield ""
        names = [each["node"] or "?" for each in nodes]
        yield paint(f"{some(names, len(names) if wide else 5)}: {verdict}", COLORS.get(verdict, "yellow"))
        yield f"  {text}"
        if cause:
            yield f"  {cause}"
        yield from (f"  note: {note}" for note in nodes[0]["notes"])
        yield from (f"  {line}".rstrip() for line in _details(nodes[0], wide=wide))


def _details(node: Mapping[str, Any], *, wide: bool) -> Iterator[str]:
    kernel = node["kernel"]
    yield ""
    yield f"the kernel of {node['node'] or 'this host'}:"
    facts = {
        "sends it": _sent(kernel),
        "by the route": kernel["route"]["text"] if kernel["route"] else "-",
        "by the rule": kernel["rule"] or "-",
    }
    yield from (f"  {name.ljust(12)}  {value}" for name, value in facts.items())
    if claims := node["claims"]:
        rows = [
            (
                each["object"],
                each["destination"],
                str(each["priority"]),
                ", ".join(hop["gateway"] for hop in each["gateways"]) or "-",
                each["standing"],
                _why(each),
            )
            for each in claims
        ]
        header = ("STATICROUTE", "DESTINATION", "PRIORITY", "GATEWAY", "STANDING", "WHY")
        yield ""
        yield from columns(header, rows)
    if wide:
        yield ""
        yield "routes that contain it, the most specific first:"
        yield from (f"  {each['text']}" for each in node["candidates"])
        yield "rules:"
        yield from (f"  {each}" for each in node["rules"])


def _sent(kernel: Mapping[str, Any]) -> str:
    if kernel.get("drop"):
        return "nowhere"
    if kernel["error"]:
        return f"nowhere: {kernel['error']}"
    words = {"via": kernel["gateway"], "dev": kernel["interface"], "src": kernel["source"]}
    return " ".join(f"{word} {value}" for word, value in words.items() if value) or "nowhere"


def _why(claim: Mapping[str, Any]) -> str:
    if claim["winner"]:
        return f"StaticRoute {claim['winner']} has precedence: {claim['why']}"
    return claim["message"] or "-"
