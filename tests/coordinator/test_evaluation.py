"""`evaluate` and `ledger` over a real home: what is written, what is counted, and the one line that bad input gets."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from coordinator.command_line import Cli
from coordinator.federation import GROUP, ManualClock, World, quiet
from PIL import Image
from torch import nn

from severable_coordinator.stores import utc_now
from severable_trust.contract import Action

PARTIES = ("archive", "clinic")
COUNT = 12
WAYS = 3 + len(PARTIES)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "home", clock=ManualClock(utc_now()))
    for name in PARTIES:
        made.join(name)
        made.agree(name)
        made.ship(name)
    made.coordinator.building.assemble(GROUP, quiet)
    return made


def pictures(folder: Path, classes: int, count: int = 16, mode: str = "L") -> Path:
    noise = np.random.default_rng(0)
    shape = (8, 8) if mode == "L" else (8, 8, 3)
    for number in range(count):
        own = folder / f"class-{number % classes}" if classes > 1 else folder
        own.mkdir(parents=True, exist_ok=True)
        pixels = noise.integers(0, 120, shape, dtype=np.uint8) + np.uint8(120 * (number % classes))
        Image.fromarray(pixels).save(own / f"{number:03}.png")
    return folder


class Stand(nn.Module):
    """Called as Inception is."""

    def forward(self, x_NCHW: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert return_features
        scale_D = torch.arange(1, 2049) / 2048.0
        return x_NCHW.flatten(1).float().mean(dim=1, keepdim=True) * scale_D


def arguments(world: World, images: Path, out: Path, *more: str) -> tuple[str, ...]:
    given = ("--images", str(images), "--out", str(out), "--count", str(COUNT), "--home", str(world.home))
    return ("evaluate", "--group", GROUP, *given, *more)


def test_a_composite_is_measured_and_every_draw_of_it_counted(cli: Cli, world: World, tmp_path: Path) -> None:
    real, out = pictures(tmp_path / "real", classes=2), tmp_path / "out"
    told = json.loads(cli(*arguments(world, real, out, "--format", "json")))
    assert told == json.loads((out / "evaluation.json").read_text())
    assert sorted(path.name for path in out.iterdir()) == [
        "evaluation.json",
        "samples.png",
        "shares.png",
        "weights.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in out.glob("*.png"))
    assert (told["measure"], told["reference_images"], told["samples"]) == ("FD-conv32", 8, COUNT)
    rows = told["rows"]
    assert [row["dispatch"] for row in rows] == ["draw_once", "cumulative", "uniform", "draw_once", "draw_once"]
    assert "negative control" in rows[2]["way"]
    assert {row["party"] for row in rows[3:]} == set(PARTIES)
    assert [row["shards_per_sample_and_step"] for row in rows if row["dispatch"] != "cumulative"] == [1, 2, 1, 1]
    assert all(row["distance"] > 0.0 and row["processor_seconds_per_image"] > 0.0 for row in rows)
    assert {row["memorized"] for row in rows} == {None}
    for shares in told["attribution"].values():
        assert sum(shares.values()) == pytest.approx(1.0, abs=1e-4)
    assert told["attribution"]["contract (lambda)"] == {"archive": 0.5, "clinic": 0.5}
    listed = json.loads(cli("ledger", "--format", "json", "--home", str(world.home)))
    assert {row["party"]: row["images"] for row in listed} == dict.fromkeys(PARTIES, (WAYS - 1) * COUNT)
    assert sum(row["credit"] for row in listed) == pytest.approx(WAYS * COUNT, abs=1e-3)
    assert sum(row["share"] for row in listed) == pytest.approx(1.0, abs=1e-5)


def test_the_table_names_the_measure_and_the_floor(cli: Cli, world: World, tmp_path: Path) -> None:
    real, out = pictures(tmp_path / "real", classes=2), tmp_path / "out"
    said = cli(*arguments(world, real, out, "--training-images", str(pictures(tmp_path / "training", classes=1))))
    named = ("FD-conv32", "routed mixture (cumulative)", "negative control", "archive alone", "the floor", "copies")
    for words in (*named, str(out / "shares.png")):
        assert words in said
    assert "FID" not in said


def test_with_inceptions_file_unlabelled_pictures_do_and_the_distance_is_an_fid(
    cli: Cli, world: World, tmp_path: Path
) -> None:
    with pytest.warns(DeprecationWarning, match="deprecated"):
        torch.jit.script(Stand()).save(str(tmp_path / "inception.pt"))  # type: ignore[no-untyped-call]
    real, out = pictures(tmp_path / "real", classes=1), tmp_path / "out"
    given = ("--inception", str(tmp_path / "inception.pt"), "--format", "json")
    told = json.loads(cli(*arguments(world, real, out, *given)))
    assert (told["measure"], told["reference_images"], told["feature_net_accuracy"]) == ("FID", 16, None)


def test_bad_input_gets_one_line_and_nothing_is_written_or_drawn(cli: Cli, world: World, tmp_path: Path) -> None:
    labelled, flat = pictures(tmp_path / "real", classes=2), pictures(tmp_path / "flat", classes=1)
    out, wrong = tmp_path / "out", tmp_path / "wrong.pt"
    wrong.write_bytes(b"no TorchScript")
    before = sorted(tmp_path.iterdir())
    refused = {
        "subfolder for each class, or give --inception": arguments(world, flat, out),
        "wrong.pt: cannot be read as TorchScript": arguments(world, labelled, out, "--inception", str(wrong)),
        "does not exist": arguments(world, tmp_path / "nowhere", out),
        "the recipe wants L": arguments(world, pictures(tmp_path / "home/rgb", classes=2, mode="RGB"), out),
        "nothing: does not exist": arguments(world, labelled, out, "--training-images", str(tmp_path / "nothing")),
        "cannot be written": arguments(world, labelled, tmp_path / "no/such/place"),
        "exists already": arguments(world, labelled, flat),
        "has no live composite": (*arguments(world, labelled, out), "--group", "press"),
    }
    for words, given in refused.items():
        assert words in cli.refused(*given)
    assert sorted(tmp_path.iterdir()) == before
    assert world.coordinator.ledger.lines() == []


def test_a_contract_that_does_not_permit_inference_is_not_measured(cli: Cli, tmp_path: Path) -> None:
    world = World(tmp_path / "home", clock=ManualClock(utc_now()))
    world.join("archive")
    world.agree("archive", permissions=(Action.TRAIN, Action.COMPOSE))
    world.ship("archive")
    world.coordinator.building.assemble(GROUP, quiet)
    real = pictures(tmp_path / "real", classes=2)
    assert "infer" in cli.refused(*arguments(world, real, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_ledger_is_narrowed_by_group_and_day_and_says_which_totals_that_leaves_out(
    cli: Cli, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ("--home", str(world.home))
    assert "nothing was drawn yet" in cli("ledger", *home)
    cli("sample", "--images", "4", "--out", str(tmp_path / "s"), *home)
    assert all((tmp_path / "s" / name).read_bytes().startswith(b"\x89PNG") for name in ("grid.png", "weights.png"))
    assert len(json.loads((tmp_path / "s/attribution.json").read_text())["images"]) == 4
    text = cli("ledger", "--since", "2026-01-01", "--group", GROUP, *home)
    assert sorted(row.split()[:2] for row in text.splitlines()[1:]) == [[name, "4"] for name in PARTIES]
    assert json.loads(cli("ledger", "--since", "2999-01-01", "--format", "json", *home)) == []
    assert json.loads(cli("ledger", "--group", "press", "--format", "json", *home)) == []
    before = json.loads(cli("ledger", "--format", "json", *home))
    contract = world.coordinator.contracts.contracts("clinic")[0].id
    record = world.coordinator.requests.receive("clinic", world.ask_for_erasure("clinic", contract))
    world.coordinator.removal.run(record, quiet)
    assert json.loads(cli("ledger", "--format", "json", *home)) == before
    capsys.readouterr()
    cli._call("ledger", "--group", GROUP, *home)
    captured = capsys.readouterr()
    assert "clinic" not in captured.out
    assert "totals of erased shards, of contracts: 1" in captured.err
