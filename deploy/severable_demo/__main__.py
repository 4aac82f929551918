"""`python -m severable_demo --out demo-out`."""

import argparse
import sys
from pathlib import Path

from severable_demo.demo import run_demo
from severable_demo.processes import StepFailedError

RECIPE = Path(__file__).parent / "recipes" / "digits.json"


def main() -> None:
    """Run the demo; exit 1 with one line when a step fails or something is not shown, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(
        description="A whole federation on this machine: train, route, compose, remove, prove."
    )
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="output directory (default: demo-out)")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="the recipe to train")
    args = parser.parse_args()
    try:
        misses = run_demo(args.out.resolve(), args.recipe.resolve())
    except StepFailedError as error:
        sys.exit(f"demo: {error}; every process that it started has been ended")
    except KeyboardInterrupt:
        print("\ndemo: interrupted; every process that it started has been ended", file=sys.stderr)
        sys.exit(130)
    if misses:
        sys.exit(f"demo: ran to its end, but did not show: {'; '.join(misses)}")


if __name__ == "__main__":
    main()
