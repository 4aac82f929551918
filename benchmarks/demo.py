"""Run the demo and record what it showed: docs/results/demo.json and docs/pictures/before-after.png.

    PYTHONPATH=deploy:benchmarks .venv/bin/python -P benchmarks/demo.py [--out DIRECTORY]

The figures are the demo's own report.json; around them stand command, seeds, versions and machine.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import recording
from PIL import Image, ImageDraw

from severable_demo.demo import run_demo
from severable_demo.evaluation import SEED

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "deploy" / "severable_demo" / "recipes" / "digits.json"
PACKAGES = ("torch", "diffusers", "flwr", "grpcio", "safetensors", "tink", "cryptography", "scikit-learn")
GAP = 24  # pixels


def main() -> None:
    """Run, record, and exit 1 when the demo did not show what it must."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="keep the demo's output here instead of in a scratch directory")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = (args.out or Path(scratch) / "demo").resolve()
        misses = run_demo(out, RECIPE)
        record(out)
    if misses:
        sys.exit(f"not shown: {'; '.join(misses)}")


def record(out: Path) -> None:
    """Write the result and the picture from a demo's output directory."""
    recording.record(
        recording.RESULTS / "demo.json",
        command="PYTHONPATH=deploy:benchmarks .venv/bin/python -P benchmarks/demo.py",
        seeds={
            "evaluation": SEED,
            "sampling": 0,
            "training": "drawn by each owner",
            "banks and router": "from content",
        },
        packages=PACKAGES,
        figures=json.loads((out / "report.json").read_text()),
    )
    picture = ROOT / "docs" / "pictures" / "before-after.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    before_and_after(out / "before" / "grid.png", out / "after" / "grid.png").save(picture, optimize=True)


def before_and_after(left: Path, right: Path) -> Image.Image:
    """The two grids side by side, each under a title."""
    grids = [Image.open(path).convert("RGB") for path in (left, right)]
    sheet = Image.new("RGB", (sum(g.width for g in grids) + GAP, max(g.height for g in grids) + GAP), "white")
    pen, x = ImageDraw.Draw(sheet), 0
    for title, grid in zip(("three owners", "after one owner left"), grids, strict=True):
        pen.text((x + 8, 6), title, fill="black")
        sheet.paste(grid, (x, GAP))
        x += grid.width + GAP
    return sheet


if __name__ == "__main__":
    main()
