"""An API server that takes patches and fails on demand."""

import asyncio
from typing import Any

from static_route_operator.errors import ApiError


class FakeApi:
    """A stand-in for `Api` and the controller's `Client` that records its requests.

    Attributes:
        patches: path, body and content type of each accepted patch.
        times: times of the accepted patches, by the clock of the event loop.
        refusals: HTTP statuses of the next answers (None: no answer); later patches are accepted.
    """

    def __init__(self, *refusals: int | None) -> None:
        self.patches: list[tuple[str, Any, str]] = []
        self.times: list[float] = []
        self.refusals = list(refusals)

    async def patch(self, path: str, body: Any, *, content_type: str) -> dict[str, Any]:
        """Record a patch, as `Api.patch`."""
        await asyncio.sleep(0.01)
        if self.refusals:
            raise ApiError(f"PATCH {path}", self.refusals.pop(0), "as set")
        self.patches.append((path, body, content_type))
        self.times.append(asyncio.get_running_loop().time())
        return {}
