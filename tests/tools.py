"""Programs beside Python that some tests run. `.ci/debian` installs them; where they lack, those tests are skipped.

In CI they are never skipped: `.ci/run` sets SEVERABLE_REQUIRE_TOOLS=1, which turns the skip into a failure. And Python
itself, where a test needs a process of its own.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def require_tools(*names: str) -> None:
    """Go on if every one of these programs is installed; otherwise skip the test, or fail it in CI."""
    missing = [name for name in names if shutil.which(name) is None]
    if not missing:
        return
    said = f"needs {', '.join(missing)}: run .ci/debian, or install by other means"
    if os.environ.get("SEVERABLE_REQUIRE_TOOLS") == "1":
        pytest.fail(said, pytrace=False)
    pytest.skip(said)


def run_python(source: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own that finds the packages of this folder; its output is text."""
    places = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, "-P", "-c", source, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
