"""What the exit code says, for scripts. They never change their meaning."""

import enum


class ExitCode(enum.IntEnum):
    """How a verb ended."""

    GOOD = 0
    NOT_GOOD = 1
    USAGE = 2
    UNANSWERED = 3


# Explanations for the reference page of the documentation.
MEANINGS: dict[ExitCode, str] = {
    ExitCode.GOOD: "All is as it should be.",
    ExitCode.NOT_GOOD: "It was found out, and something is not as it should be; or a process could not go on.",
    ExitCode.USAGE: "The command line is wrong: an unknown verb, flag or value.",
    ExitCode.UNANSWERED: "It could not be found out, or not in full: no access, no agent, no answer.",
}
