"""What this node reaches: looked at now and then, so that it is known before a change what must answer after it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from static_route_operator.node.rollback.endpoints import Endpoint
from static_route_operator.supervision import AROUND, FULL, Backoff

logger = logging.getLogger(__name__)

# From one look to the next, ± 20 %. Seconds. What went wrong since does no harm: what answers neither with a change nor
# without it is not held against it.
INTERVAL = 120.0
# While something does not answer, looks follow after these, growing. Seconds.
FIRST_AGAIN = 1.0
# One attempt takes no longer: time for a segment that is lost to be sent again. Seconds.
ATTEMPT = 2.0
# From an attempt that failed to the next. Seconds.
PAUSE = 0.2
# Many nodes apply a change in the same moment: they ask what they share with this spread. Seconds.
SPREAD = 0.1


class Reachability:
    """Knows what answers.

    Args:
        endpoints: asked in each look for what there is to reach.

    Attributes:
        answering: what answered last, by name.
        looked: set after the first look.
    """

    def __init__(self, endpoints: Callable[[], Awaitable[Iterable[Endpoint]]]) -> None:
        self._endpoints = endpoints
        self._again = asyncio.Event()
        self.answering: dict[str, Endpoint] = {}
        self.looked = asyncio.Event()

    def look_again(self) -> None:
        """Something may answer that did not."""
        self._again.set()

    async def run(self) -> None:
        """Look until cancelled."""
        backoff = Backoff(FIRST_AGAIN, INTERVAL, AROUND)
        while True:
            if await self._look():
                backoff.reset()
                wait = AROUND.of(INTERVAL)
            else:
                wait = next(backoff)
            self.looked.set()
            self._again.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._again.wait()
                backoff.reset()
            except TimeoutError:
                pass

    async def _look(self) -> bool:
        """Whether all answer."""
        endpoints = {each.name: each for each in await self._endpoints()}
        for name in self.answering.keys() - endpoints.keys():
            del self.answering[name]
        return all(await asyncio.gather(*map(self._look_at, endpoints.values())))

    async def _look_at(self, endpoint: Endpoint) -> bool:
        reason = await attempt(endpoint, ATTEMPT)
        if not reason:
            self.answering[endpoint.name] = endpoint
        elif self.answering.pop(endpoint.name, None) is not None:
            logger.info("%s does not answer: %s", endpoint.name, reason)
        return not reason

    async def failing(self, endpoints: Iterable[Endpoint], seconds: float) -> dict[str, str]:
        """What of these does not answer within some seconds, with the reason, by name."""
        asked = list(endpoints)
        reasons = await asyncio.gather(*(self._persist(each, seconds) for each in asked))
        return {each.name: reason for each, reason in zip(asked, reasons, strict=True) if reason}

    async def _persist(self, endpoint: Endpoint, seconds: float) -> str:
        await asyncio.sleep(FULL.of(SPREAD))
        left, reason = seconds, ""
        while left > 0:
            # Not by the clock: a process, or a machine, that stood still has not waited.
            allowed = min(ATTEMPT, left)
            started = asyncio.get_running_loop().time()
            reason = await attempt(endpoint, allowed)
            if not reason:
                return ""
            left -= min(allowed, asyncio.get_running_loop().time() - started) + PAUSE
            await asyncio.sleep(min(PAUSE, max(left, 0.0)))
        return reason


async def attempt(endpoint: Endpoint, seconds: float) -> str:
    """Ask once; why it failed, or nothing."""
    try:
        async with asyncio.timeout(seconds):
            await endpoint.ask()
    except TimeoutError:
        return f"no answer in {seconds:.3g} s"
    except OSError as error:
        return error.strerror.lower() if error.strerror else str(error) or type(error).__name__
    return ""
