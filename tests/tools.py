"""Programs beside Python that some tests run. `.ci/debian` installs them; where they lack, those tests are skipped.

In CI they are never skipped: `.ci/run` sets SEVERABLE_REQUIRE_TOOLS=1, which turns the skip into a failure.
"""

import os
import shutil

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
