"""The one error of the lab."""


class LabError(Exception):
    """Something in the lab failed; the text says what, and what to do or where to look."""
