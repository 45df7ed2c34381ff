"""An API server that takes patches, and fails on demand."""

import asyncio
from typing import Any

from static_route_operator.errors import ApiError


class FakeApi:
    """A stand-in for `Api` that notes all requests.

    Attributes:
        patches: path, body and content type of each patch that was taken.
        times: when, by the clock of the event loop.
        refusals: HTTP statuses of the next answers (None: no answer); when they are used up, patches are taken.
    """

    def __init__(self, *refusals: int | None) -> None:
        self.patches: list[tuple[str, Any, str]] = []
        self.times: list[float] = []
        self.refusals = list(refusals)

    async def patch(self, path: str, body: Any, *, content_type: str) -> dict[str, Any]:
        """Note the request, like `Api.patch`."""
        await asyncio.sleep(0.01)
        if self.refusals:
            raise ApiError(f"PATCH {path}", self.refusals.pop(0), "told so")
        self.patches.append((path, body, content_type))
        self.times.append(asyncio.get_running_loop().time())
        return {}
