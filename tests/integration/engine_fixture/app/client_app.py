"""What a SuperNode's stock executor would run; ours must never get here, so a mark is left if it does."""

import os
from pathlib import Path

Path(os.environ["ENGINE_TEST_MARK"]).write_text("the bundle's own code ran on the owner's machine")

app = None
