"""What is concluded from answers and losses: when a probe is lost, when a gateway is down and when it is up again.

Pure: the time is told, in seconds of any clock that never goes back.
"""

import statistics

from static_route_operator.api.healthcheck import Check, CheckType
from static_route_operator.api.noderoutestate import GatewayState

# Until answers have told better: what RFC 6298 (2.1) starts from. Seconds.
FIRST_DEADLINE = 1.0
# So many answers have to.
FIRST_SAMPLES = 5
# An answer may be at least so much later than usual. The kernel answers echo requests and handshakes; a process answers
# HTTP and may have to wait for its turn. Seconds.
LEAST_MARGIN = {CheckType.ICMP: 0.002, CheckType.TCP: 0.002, CheckType.HTTP: 0.02}
# To wait so much of the interval costs little beside the interval itself, and spares a slow answer.
INTERVAL_MARGIN = 0.1
# By so much of the usual time a path may become longer at any time.
PATH_MARGIN = 0.5
# No learnt deadline is longer. Seconds.
MOST_DEADLINE = 5.0

# While a verdict is pending, the next probe is sent after this share of the interval.
HASTE = 0.5
# A gateway that does not answer is asked no more often: its probes pile up in the neighbour's queue. Seconds.
IDLE_INTERVAL = 0.1

# A gateway that goes down again is held back for 2, 4, 8, … seconds from then.
FIRST_HOLD = 2.0
MOST_HOLD = 60.0
# One that has been up for so long is as good as new. Seconds.
QUIET = 120.0


class RoundTrip:
    """The round-trip time and how long to wait for an answer, as TCP estimates them (RFC 6298).

    Attributes:
        last: the last sample in seconds; None before the first.
        smoothed: the moving average; None before the first samples.
    """

    def __init__(self) -> None:
        self.last: float | None = None
        self.smoothed: float | None = None
        self._variation = 0.0
        self._first: list[float] = []

    def add(self, sample: float, most: float) -> None:
        """Take a sample in, as ``most`` if it is more, lest one that waited for seconds makes patient for minutes.

        That of a late answer too: unlike a TCP segment that was sent twice, an answer tells which probe it is for.
        """
        self.last = sample
        sample = min(sample, most)
        if self.smoothed is not None:
            self._variation += (abs(self.smoothed - sample) - self._variation) / 4
            self.smoothed += (sample - self.smoothed) / 8
            return
        # The first answers may have waited until an address was resolved, or a SYN was sent again.
        self._first.append(sample)
        if len(self._first) == FIRST_SAMPLES:
            self.smoothed = statistics.median(self._first)
            self._variation = self.smoothed / 2
            self._first.clear()

    def forget(self) -> None:
        """Learn anew; the last sample is kept to be shown."""
        self.smoothed = None
        self._first.clear()

    def patience(self, margin: float) -> float | None:
        """How long an answer may take, in seconds, but at least the usual time and a margin; None while unknown."""
        if self.smoothed is None:
            return None
        return self.smoothed + max(4 * self._variation, PATH_MARGIN * self.smoothed, margin)


class Detector:
    """The verdict on one gateway.

    Args:
        check: its thresholds and times.

    Attributes:
        state: the verdict.
        reason: of the last loss, in words.
        round_trip: what the answers took.
        sent: probes judged.
        lost: of these, the lost ones.
        flaps: how often it went from up to down.
    """

    def __init__(self, check: Check) -> None:
        self._check = check
        self.state = GatewayState.UNKNOWN
        self.reason = ""
        self.round_trip = RoundTrip()
        self.sent = self.lost = self.flaps = 0
        self._successes = self._failures = 0
        self._doubt = ""
        self._up_at = 0.0
        self._held_until = 0.0
        self._downs = 0

    @property
    def deadline(self) -> float:
        """Seconds after which a probe that is sent now is lost."""
        if self._check.timeout is not None:
            return self._check.timeout
        margin = max(LEAST_MARGIN[self._check.type], INTERVAL_MARGIN * self._check.interval)
        patience = self.round_trip.patience(margin)
        if patience is None:
            return max(FIRST_DEADLINE, self._check.interval)
        # When in doubt about the neighbour, its address has to be resolved first: another round trip.
        return min(patience * (2 if self._doubt else 1), MOST_DEADLINE)

    @property
    def pause(self) -> float:
        """Seconds from the last probe to the next.

        A verdict that is pending is hastened, yet not at once: a pause of the gateway, or a burst that fills a queue,
        takes all probes that are sent within it. Three losses still take one whole interval of silence.
        """
        interval = self._check.interval
        if self.state is GatewayState.UP:
            return interval * HASTE if self._failures else interval
        pending = 0 < self._successes < self._check.success_threshold
        return max(interval * HASTE if pending else interval, IDLE_INTERVAL)

    def held(self, now: float) -> float:
        """Seconds for which it is not let up yet."""
        return max(0.0, self._held_until - now) if self.state is GatewayState.DOWN else 0.0

    def answered(self, now: float, rtt: float, *, late: bool = False) -> bool:
        """A probe was answered; whether that changes the verdict.

        A late answer to a probe that counts as lost is an answer all the same: the gateway lives, and is slower than
        was thought.
        """
        self.sent += not late
        self.round_trip.add(rtt, 2 * self.deadline)
        self._failures = 0
        self._doubt = ""
        self._successes += 1
        if self.state is GatewayState.UP:
            return False
        if self.state is GatewayState.DOWN and (
            self._successes < self._check.success_threshold or now < self._held_until
        ):
            return False
        # What is unknown is up with its first answer: nothing speaks against it.
        self.state = GatewayState.UP
        self._up_at = now
        return True

    def failed(self, now: float, reason: str, *, outdated: bool = False) -> bool:
        """A probe was lost, or answered with a refusal; whether that changes the verdict.

        That of an outdated one, since which a later one was answered, is only counted.
        """
        self.sent += 1
        self.lost += 1
        if outdated:
            return False
        self._failures += 1
        self._successes = 0
        self.reason = self._doubt or reason
        return (self._failures >= self._check.failure_threshold or bool(self._doubt)) and self._fall(now)

    def down(self, now: float, reason: str) -> bool:
        """It is known for certain that it can't be reached; whether that changes the verdict."""
        self.reason = reason
        self._successes = 0
        return self._fall(now)

    def doubt(self, now: float, reason: str) -> bool:
        """Somebody says that it can't be reached; whether that changes the verdict.

        It does so at once if a probe has been lost since the last answer. Else the next probe tells, and alone: the
        kernel calls a neighbour FAILED also when a person deletes the entry of one that is well.
        """
        if self._failures or self.state is not GatewayState.UP:
            return self.down(now, reason)
        self._doubt = reason
        return False

    def _fall(self, now: float) -> bool:
        self._doubt = ""
        if self.state is GatewayState.DOWN:
            return False
        if self.state is GatewayState.UP:
            self.flaps += 1
            if now - self._up_at >= QUIET:
                self._downs = 0
            if self._downs:
                self._held_until = now + min(FIRST_HOLD * 2.0 ** (self._downs - 1), MOST_HOLD)
            self._downs += 1
        self.state = GatewayState.DOWN
        # What comes back may be another machine at the same address.
        self.round_trip.forget()
        return True
