"""The membership audit over a real home: a shard that learnt images by heart is found out, and gone after it left."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from coordinator.command_line import Cli
from coordinator.federation import GROUP, ManualClock, World, quiet, recipe, shard_files
from PIL import Image

from severable_coordinator.stores import utc_now
from severable_diffusion import network
from severable_diffusion.images import to_pil
from severable_diffusion.training import train

OTHERS = ("archive", "clinic")
COUNT = 48
STEPS = 500


def noise_images(seed: int) -> torch.Tensor:
    """Images of one kind, of which no two are alike."""
    return torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2.0 - 1.0


def folder_of(path: Path, x_NCHW: torch.Tensor) -> Path:
    path.mkdir(parents=True)
    for number, picture in enumerate(to_pil(x_NCHW)):
        picture.save(path / f"{number:03}.png")
    return path


@pytest.fixture(scope="module")
def learnt_by_heart() -> bytes:
    own = recipe()
    own = replace(own, training=replace(own.training, max_steps=STEPS, epochs=100_000, batch=16))
    return network.dump(train(own, noise_images(1)[: COUNT // 4], seed=0).state_dict)


@pytest.fixture
def world(tmp_path: Path, learnt_by_heart: bytes) -> World:
    made = World(tmp_path / "home", clock=ManualClock(utc_now()))
    for name in (*OTHERS, "agency"):
        made.join(name)
        made.agree(name)
        files = shard_files(name) | ({"model.safetensors": learnt_by_heart} if name == "agency" else {})
        assert made.upload(name, made.claim(name, files), files).admitted
    made.coordinator.building.assemble(GROUP, quiet)
    return made


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return (
        folder_of(tmp_path / "held-in", noise_images(1)[: COUNT // 4]),
        folder_of(tmp_path / "held-out", noise_images(2)),
    )


def audit(cli: Cli, world: World, folders: tuple[Path, Path], out: Path, *more: str) -> str:
    given = ("--membership", str(folders[0]), "--images", str(folders[1]), "--out", str(out))
    return cli("evaluate", *given, "--home", str(world.home), *more)


def test_a_composite_gives_away_whose_images_it_learnt_and_no_more_once_the_shard_is_removed(
    cli: Cli, world: World, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    before = json.loads(audit(cli, world, folders, tmp_path / "before", "--format", "json"))
    assert not before["no_better_than_guessing"]
    assert (before["held_in_images"], before["held_out_images"]) == (COUNT // 4, COUNT)
    contract = world.coordinator.contracts.contracts("agency")[0].id
    record = world.coordinator.requests.receive("agency", world.ask_for_erasure("agency", contract))
    world.coordinator.removal.run(record, quiet)

    contrast = ("--before", str(tmp_path / "before" / "membership.json"))
    after = json.loads(audit(cli, world, folders, tmp_path / "after", "--format", "json", *contrast))
    assert after["no_better_than_guessing"]
    assert after["composite"] == str(world.coordinator.building.live(GROUP).id)
    assert after["attacks"]["before"] == before["attacks"]["composite"]
    for out in ("before", "after"):
        assert sorted(path.name for path in (tmp_path / out).iterdir()) == ["membership.json", "roc.png"]
        with Image.open(tmp_path / out / "roc.png") as picture:
            assert picture.width > 300
    assert world.coordinator.ledger.lines() == []  # nothing was drawn


def test_a_copy_from_before_is_audited_beside_the_composite_and_the_table_says_which_is_which(
    cli: Cli, world: World, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    copy = world.coordinator.building.directory(world.coordinator.building.live(GROUP))
    text = audit(cli, world, folders, tmp_path / "out", "--before", str(copy))
    rows = [line.split() for line in text.splitlines() if line.startswith(("now", "before"))]
    assert [row[1:] for row in rows if row[0] == "now"] == [row[1:] for row in rows if row[0] == "before"]
    assert "better than guessing" in text


def test_bad_input_gets_one_line_and_nothing_is_written(
    cli: Cli, world: World, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    held_in, held_out = map(str, folders)
    one = folder_of(tmp_path / "one", noise_images(3)[:1])
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"held_in_images": 12, "held_out_images": 48}')
    out = tmp_path / "out"
    home = ("--out", str(out), "--home", str(world.home))
    refused = {
        "--before goes with --membership": ("--images", held_out, "--before", held_in),
        "holds one image": ("--images", held_out, "--membership", str(one)),
        "does not exist": ("--images", held_out, "--membership", str(tmp_path / "nowhere")),
        "neither a composite's directory nor": ("--images", held_out, "--membership", held_in, "--before", str(wrong)),
        "is no composite": ("--images", held_out, "--membership", held_in, "--before", held_out),
        "has no live composite": ("--images", held_out, "--membership", held_in, "--group", "press"),
    }
    for words, given in refused.items():
        assert words in cli.refused("evaluate", *given, *home)
    assert not out.exists()
