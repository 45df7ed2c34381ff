"""Exit codes. Scripts depend on them, so their meanings are stable."""

import enum


class ExitCode(enum.IntEnum):
    """The result of a verb."""

    GOOD = 0
    NOT_GOOD = 1
    USAGE = 2
    UNANSWERED = 3


# Explanations for the reference page of the documentation.
MEANINGS: dict[ExitCode, str] = {
    ExitCode.GOOD: "Success: everything was asked, and no problem was found.",
    ExitCode.NOT_GOOD: "A problem was found, whether or not everything could be asked; or the process failed.",
    ExitCode.USAGE: "The command line is wrong: an unknown verb, flag or value.",
    ExitCode.UNANSWERED: "No problem was found, but the question was not answered, or not in full: no access, no agent,"
    " or no reply.",
}
