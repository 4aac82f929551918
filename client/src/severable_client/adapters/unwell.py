"""A finding of `doctor` on its way to its line."""


class UnwellError(Exception):
    """What is wrong, and what to do about it.

    Args:
        line: what is wrong.
        remedy: what to do.
    """

    def __init__(self, line: str, remedy: str) -> None:
        super().__init__(line)
        self.remedy = remedy
