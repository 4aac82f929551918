"""Discretion: what is logged, or told to the coordinator, never names a file of the image folder.

File names of a data set can be personal data themselves. Errors about images name the file, for the owner, who finds
them in `status` and in the worker's own log; everywhere else such a line ends before the name.
"""

import os
from pathlib import Path

HINT = "(here the image folder is named; see `severable-client status`)"


class Discretion:
    """Cuts lines short before the image folder's path.

    Args:
        folder: the image folder.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = tuple({str(folder), os.path.realpath(folder)} - {"/"})

    def __call__(self, line: str) -> str:
        """Return the line, without the folder's path and all that follows it."""
        places = [place for path in self._paths if (place := line.find(path)) >= 0]
        return line[: min(places)] + HINT if places else line
