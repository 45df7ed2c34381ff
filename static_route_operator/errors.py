"""The errors this program raises on purpose.

Each says what is wrong, where (object and field), and what to do. What only one module raises and catches stays there.
"""


class StaticRouteError(Exception):
    """Base of all errors raised on purpose; its text is meant for a person."""


class InvalidPrefixError(StaticRouteError):
    """A text that is not an IP address or prefix, or one that can never be routed. The text says why."""


class InvalidSpecError(StaticRouteError):
    """A StaticRoute that can't be used at all.

    Args:
        name: the object, as in ``metadata.name``.
        field: the path of the field in the object, such as ``spec.gateway``.
        problem: what is wrong with it, and what would be right.
    """

    def __init__(self, name: str, field: str, problem: str) -> None:
        super().__init__(f"StaticRoute {name}: {field}: {problem}")
        self.name = name
        self.field = field
        self.problem = problem


class SettingsError(StaticRouteError):
    """A flag or environment variable with a value that can't be used."""


class ManifestError(StaticRouteError):
    """A manifest file that can't be read as StaticRoutes: names the file and the place."""


class ApiError(StaticRouteError):
    """The API server answered a request of ours with an error, or not at all.

    Args:
        what: the request, as ``GET /path``.
        status: the HTTP status, or None when there was no answer (refused, timed out, reset).
        text: the server's own words.
    """

    def __init__(self, what: str, status: int | None, text: str) -> None:
        super().__init__(f"{what}: {'no answer' if status is None else f'HTTP {status}'}: {text}")
        self.status = status


class UnansweredError(StaticRouteError):
    """What was asked could not be found out, or not in full: no access, no process, no answer."""


class KernelError(StaticRouteError):
    """The kernel refused a request that was not about one route (a dump, a look-up), or its answer was cut short."""
