"""`evaluate`: how good a composite is, what it costs, whose images it makes."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from severable_coordinator.adapters.cli.options import DEFAULT_GROUP, DEFAULT_HOME, As, Format, Group, Home
from severable_coordinator.adapters.cli.output import ProgressLines, listing
from severable_coordinator.bootstrap import open_home
from severable_coordinator.errors import ConfigError

EXAMPLE = "Example: severable-coordinator evaluate --group licensees --images ./held-out --out ./evaluation"
_FILES = ("evaluation.json", "samples.png", "weights.png", "shares.png")


def evaluate(
    images: Annotated[
        Path,
        typer.Option(help="Real pictures that no party trained on; one subfolder for each class, if they have any."),
    ],
    out: Annotated[Path, typer.Option(help=f"A new directory for {', '.join(_FILES)}.")],
    count: Annotated[int, typer.Option(min=2, max=100_000, help="Images drawn in each way.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of the noise and of the feature network.")] = 0,
    inception: Annotated[
        Path | None,
        typer.Option(
            help="Your copy of the Inception network as TorchScript, for an FID; a program, so know where it is from. "
            "Without it distances are measured in a small network trained on half of the pictures."
        ),
    ] = None,
    training_images: Annotated[
        Path | None,
        typer.Option(help="Training images to look for copies of; a coordinator normally has none, owners keep them."),
    ] = None,
    membership: Annotated[
        Path | None,
        typer.Option(
            help="Instead of all else, audit: does the composite tell these images, which a party trained on, from "
            "--images of the same kind, which it did not? Writes membership.json and roc.png."
        ),
    ] = None,
    before: Annotated[
        Path | None,
        typer.Option(help="With --membership, for contrast: a composite from before, or its membership.json."),
    ] = None,
    how: As = Format.TEXT,
    group: Group = DEFAULT_GROUP,
    home: Home = DEFAULT_HOME,
) -> None:
    """Measure a group's live composite against real pictures: distances, cost, attribution, or what it gives away."""
    inference = open_home(home).inference
    if membership is not None:
        from severable_coordinator.membership_audit import Audit  # noqa: PLC0415  # imports torch

        audit = Audit(held_in=membership, held_out=images, out=out, seed=seed, before=before)
        _print_audit(inference.audit(group, audit, ProgressLines()), how, out)
        return
    if before is not None:
        raise ConfigError("evaluate: --before goes with --membership")
    from severable_coordinator.evaluation import Evaluation  # noqa: PLC0415  # imports torch

    asked = Evaluation(images=images, out=out, count=count, seed=seed, inception=inception, training=training_images)
    result = inference.evaluate(group, asked, ProgressLines())
    if how is Format.JSON:
        print(json.dumps(result, indent=2))
        return
    _print(result)
    for name in _FILES:
        print(out / name)


def _print_audit(result: dict[str, Any], how: Format, out: Path) -> None:
    if how is Format.JSON:
        print(json.dumps(result, indent=2))
        return
    rows = [
        {
            "composite": "now" if name == "composite" else name,
            "score": score,
            "area": f"{one['area']:.3f}",
            "95 %": f"{one['low']:.3f} to {one['high']:.3f}",
            "found at 1 % false": f"{one['hit_rate']:.1%}",
        }
        for name, audited in result["attacks"].items()
        for score, one in audited.items()
    ]
    listing(rows, Format.TEXT, "")
    verdict = "no better than guessing" if result["no_better_than_guessing"] else "better than guessing"
    counts = f"{result['held_in_images']} held-in and {result['held_out_images']} held-out images"
    print(f"\nby the score {result['headline']!r} the composite now tells {counts} apart {verdict}")
    for name in ("membership.json", "roc.png"):
        print(out / name)


def _print(result: dict[str, Any]) -> None:
    measure = str(result["measure"])
    rows = [{"drawn": row["way"], **_cells(row, measure)} for row in result["rows"]]
    floor = {"drawn": "real against real, the floor", measure: f"{result['real_against_real']:.2f}"}
    listing([*rows, {key: floor.get(key, "") for key in rows[0]}], Format.TEXT, "")
    print()
    parties = sorted({party for shares in result["attribution"].values() for party in shares})
    listing(
        [
            {"share of": of, **{party: f"{shares.get(party, 0.0):.1%}" for party in parties}}
            for of, shares in result["attribution"].items()
        ],
        Format.TEXT,
        "",
    )
    print()


def _cells(row: dict[str, Any], measure: str) -> dict[str, object]:
    times = row["times_one_shard"]
    cells: dict[str, object] = {
        measure: f"{row['distance']:.2f}",
        "shards/step": f"{row['shards_per_sample_and_step']:.2f}",
        "cpu s/image": f"{row['processor_seconds_per_image']:.2g}",
        "of one shard": "" if times is None else f"{times:.2f}x",
    }
    return cells if row["memorized"] is None else cells | {"copies": f"{row['memorized']:.1%}"}
