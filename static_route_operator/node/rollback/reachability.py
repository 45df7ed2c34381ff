"""Reachability of the required endpoints, probed now and then: a change is held against what answered before it."""

import asyncio
import contextlib
import errno
import logging
from collections.abc import Awaitable, Callable, Iterable

from static_route_operator.node.rollback.endpoints import Endpoint
from static_route_operator.supervision import AROUND, FULL, Backoff

logger = logging.getLogger(__name__)

# Seconds between two rounds of probes, ± 20 %. A failure since the last round does no harm: an endpoint that answers
# neither with a change nor without it is not held against the change.
INTERVAL = 120.0
# Seconds to the next round while an endpoint does not answer; doubled each time.
FIRST_AGAIN = 1.0
# Seconds that one attempt may take: time for a lost segment to be sent again.
ATTEMPT = 2.0
# Seconds between a failed attempt and the next.
PAUSE = 0.2
# Seconds over which probes are spread: many nodes apply a change in the same moment, and probe the same endpoints.
SPREAD = 0.1

# Errors that say nothing of an endpoint: this process or node lacks descriptors or memory.
OWN_LACKS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Reachability:
    """The required endpoints that answer.

    Args:
        endpoints: called in each round for the required endpoints.
        release: closes the sockets of the endpoints.

    Attributes:
        answering: by name, the endpoints that answered last.
        looked: set after the first round.
    """

    def __init__(
        self, endpoints: Callable[[], Awaitable[Iterable[Endpoint]]], release: Callable[[], None] = lambda: None
    ) -> None:
        self._endpoints = endpoints
        self._release = release
        self._again = asyncio.Event()
        self.answering: dict[str, Endpoint] = {}
        self.looked = asyncio.Event()

    def look_again(self) -> None:
        """Probe soon: an endpoint may answer that did not."""
        self._again.set()

    def close(self) -> None:
        """Close all sockets."""
        self._release()

    async def run(self) -> None:
        """Probe until cancelled."""
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
        """Probe all endpoints; report whether all answer."""
        endpoints = {each.name: each for each in await self._endpoints()}
        for name in self.answering.keys() - endpoints.keys():
            del self.answering[name]
        return all(await asyncio.gather(*map(self._probe, endpoints.values())))

    async def _probe(self, endpoint: Endpoint) -> bool:
        try:
            reason = await attempt(endpoint, ATTEMPT)
        except OSError:
            # Nothing was sent, so what is known of the endpoint stands.
            return False
        if not reason:
            self.answering[endpoint.name] = endpoint
        elif self.answering.pop(endpoint.name, None) is not None:
            logger.info("%s does not answer: %s", endpoint.name, reason)
        return not reason

    async def failing(self, endpoints: Iterable[Endpoint], seconds: float) -> dict[str, str]:
        """Return the endpoints that do not answer within some seconds: the reasons by name."""
        probed = list(endpoints)
        reasons = await asyncio.gather(*(self._persist(each, seconds) for each in probed))
        return {each.name: reason for each, reason in zip(probed, reasons, strict=True) if reason}

    async def _persist(self, endpoint: Endpoint, seconds: float) -> str:
        """Probe until the endpoint answers or the time is up; return the last reason, empty after an answer."""
        await asyncio.sleep(FULL.of(SPREAD))
        left, reason = seconds, ""
        while left > 0:
            # Count the time of attempts, not the clock: a process or machine that was suspended has not waited.
            allowed = min(ATTEMPT, left)
            started = asyncio.get_running_loop().time()
            # If nothing can be sent the whole time, nothing says that the endpoint is cut off.
            with contextlib.suppress(OSError):
                reason = await attempt(endpoint, allowed)
                if not reason:
                    return ""
            left -= min(allowed, asyncio.get_running_loop().time() - started) + PAUSE
            await asyncio.sleep(min(PAUSE, max(left, 0.0)))
        return reason


async def attempt(endpoint: Endpoint, seconds: float) -> str:
    """Probe once; return the reason of a failure, empty after an answer.

    Raises:
        OSError: nothing was sent, for a lack of descriptors or memory of this process or node.
    """
    try:
        async with asyncio.timeout(seconds):
            await endpoint.probe()
    except TimeoutError:
        return f"no answer in {seconds:.3g} s"
    except OSError as error:
        if error.errno in OWN_LACKS:
            raise
        return error.strerror.lower() if error.strerror else str(error) or type(error).__name__
    return ""
