"""Errors that this program raises on purpose.

The text of each names the object and the field, the problem and the correction. An error that only one module raises
and catches is defined there.
"""

# Characters of a value that a message shows.
MOST_SHOWN = 80
# Characters of the description of a problem.
MOST_PROBLEM = 1000
# Characters of a name of an object in Kubernetes.
MOST_NAME = 253


def shown(value: object, most: int = MOST_SHOWN) -> str:
    """Return a value in quotes for a message, cut to a length that a line of a log can hold."""
    try:
        text = str(value)
    except ValueError:
        # Python refuses to write an integer of thousands of digits.
        return "a number of thousands of digits"
    # Control characters would forge lines of a log, or act on a terminal.
    part = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text[:most])
    return f"'{part}'" if len(text) <= most else f"'{part}…' ({len(text)} characters)"


class StaticRouteError(Exception):
    """Base of all errors raised on purpose, with a text for people."""


class InvalidPrefixError(StaticRouteError):
    """A text that is not an IP address or prefix, or a prefix that can never be routed."""


class InvalidAddressesError(StaticRouteError):
    """A list of the cluster's addresses that can't be believed as a whole."""


class InvalidSpecError(StaticRouteError):
    """A StaticRoute that cannot be used at all.

    Args:
        name: ``metadata.name``.
        field: path of the field in the object, such as ``spec.gateway``.
        problem: the error, and the correction.
    """

    def __init__(self, name: str, field: str, problem: str) -> None:
        # A problem may name thousands of destinations, and a name may be any text.
        self.problem = problem if len(problem) <= MOST_PROBLEM else problem[:MOST_PROBLEM] + "…"
        super().__init__(f"StaticRoute {name[:MOST_NAME]}: {field}: {self.problem}")
        self.name = name
        self.field = field


class SettingsError(StaticRouteError):
    """A flag or environment variable with an invalid value."""


class ManifestError(StaticRouteError):
    """A manifest file that cannot be read as StaticRoutes."""


class ApiError(StaticRouteError):
    """A request that the API server answered with an error, or did not answer.

    Args:
        request: method and path, as ``GET /path``.
        status: HTTP status; None without an answer (refused, timed out, reset).
        text: the error of the server.
    """

    def __init__(self, request: str, status: int | None, text: str) -> None:
        super().__init__(f"{request}: {'no answer' if status is None else f'HTTP {status}'}: {text}")
        self.status = status


class UnansweredError(StaticRouteError):
    """A question without a full answer: no access, no process, or no reply."""


class KernelError(StaticRouteError):
    """A kernel request that was not about one route (a dump, a look-up) and failed, or whose answer was cut short."""
