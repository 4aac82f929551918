"""A page as PDF, by the print of a browser that is on this machine. Nothing is fetched: the page has all it shows."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from severable_coordinator.adapters.new_file import write_new_file
from severable_coordinator.errors import ConfigError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE_S = 60.0


def find_browser() -> str:
    """The first browser that can print without a window. ConfigError when there is none."""
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    raise ConfigError(
        "no browser for the PDF (chromium or google-chrome); leave --pdf out, open the page and print it to a file"
    )


def print_page(browser: str, html: str, out: Path) -> None:
    """Print a page to a new PDF file: whole, or not at all. ConfigError, ConflictError."""
    with tempfile.TemporaryDirectory(prefix="severable-print-") as scratch:
        page, pdf = Path(scratch) / "page.html", Path(scratch) / "page.pdf"
        page.write_text(html, encoding="utf-8")
        command = [
            browser, "--headless", "--disable-gpu", "--no-first-run", "--no-pdf-header-footer",
            f"--user-data-dir={scratch}/profile", "--host-resolver-rules=MAP * ~NOTFOUND",
            *(("--no-sandbox",) if os.geteuid() == 0 else ()),  # its sandbox does not start for root
            f"--print-to-pdf={pdf}", page.as_uri(),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(
                f"{browser}: did not print the page ({type(error).__name__}); print it by hand"
            ) from error
        if done.returncode or not pdf.is_file() or not pdf.read_bytes().startswith(b"%PDF"):
            raise ConfigError(f"{browser}: did not print the page (status {done.returncode}); print it by hand")
        write_new_file(out, pdf.read_bytes())
