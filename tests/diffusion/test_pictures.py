from pathlib import Path

import pytest
import torch
from PIL import Image

from severable_diffusion.attribution import Attribution
from severable_diffusion.pictures import MARGIN, TILE, colours, grid, plot_weights


def test_a_grid_shows_every_image_enlarged_without_smoothing() -> None:
    x_NCHW = torch.full((3, 1, 8, 8), -1.0)
    x_NCHW[1] = 1.0
    sheet = grid(x_NCHW, ["owner-a 97%", "owner-b 51%", "owner-a 100%"], columns=3)
    assert sheet.width == 3 * (TILE + MARGIN) + MARGIN
    middle = MARGIN + TILE // 2
    pixels = [sheet.getpixel((middle + place * (TILE + MARGIN), middle)) for place in range(3)]
    assert pixels == [(0, 0, 0), (255, 255, 255), (0, 0, 0)]


def test_images_larger_than_a_tile_are_made_to_fit() -> None:
    sheet = grid([Image.new("RGB", (300, 150), (255, 0, 0))])
    assert sheet.size == (TILE + 2 * MARGIN, TILE + 2 * MARGIN)
    assert sheet.getpixel((MARGIN + TILE // 2, MARGIN + TILE // 2)) == (255, 0, 0)


def test_equal_owners_get_equal_colours() -> None:
    sheet = grid(torch.zeros(3, 1, 8, 8), ["a 97%", "b 51%", "a 9%"], columns=3)
    row = MARGIN + TILE + 2 + 6
    colours = [sheet.getpixel((MARGIN + 3 + place * (TILE + MARGIN), row)) for place in range(3)]
    assert colours[0] == colours[2] != colours[1]


def test_a_grid_refuses_what_it_cannot_show() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        grid([])
    with pytest.raises(ValueError, match="1 labels for 2 images"):
        grid(torch.zeros(2, 1, 8, 8), ["a"])


def test_the_plot_of_weights_is_a_picture(tmp_path: Path) -> None:
    weights_SK = torch.rand(5, 2, generator=torch.Generator().manual_seed(0)).softmax(dim=-1)
    # One sample may be given as (S, K) or as a batch of one.
    for name, weights in (("a.png", weights_SK), ("b.png", weights_SK[:, None])):
        plot_weights(tmp_path / name, weights, [-6.0, -3.0, 0.0, 2.0, 4.0], ["owner-a", "owner-b"])
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > picture.height > 200
        assert len(picture.convert("RGB").getcolors(1_000_000) or []) > 20
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_an_attribution_averages_over_the_trajectory_and_names_the_leader() -> None:
    record = Attribution(
        shard_ids=("a", "b"),
        trajectory_SNK=torch.tensor([[[0.5, 0.5], [0.5, 0.5]], [[0.0, 1.0], [0.9, 0.1]]]),
        times=(9, 4),
        log_snr=(-3.0, 3.0),
        realised_N=torch.tensor([1, -1]),
        evaluations=(4, 3),
    )
    assert record.weights_NK.tolist() == [[0.25, 0.75], pytest.approx([0.7, 0.3])]
    assert record.leader(0) == ("b", 1.0)
    assert record.leader(1, final=False)[0] == "a"
    assert record.leader(1, final=False)[1] == pytest.approx(0.7)
    assert record.evaluations_per_step == pytest.approx(1.75)
    assert record.image_to_dict(0) == {
        "credit": {"a": 0.25, "b": 0.75},
        "weighted": {"a": pytest.approx(3 / 7, abs=1e-6), "b": pytest.approx(4 / 7, abs=1e-6)},  # 6 and 1 of log-SNR
        "final": {"a": 0.0, "b": 1.0},
        "realised": "b",
    }
    assert record.image_to_dict(1)["realised"] is None


def test_an_owner_keeps_its_colour_when_another_has_left() -> None:
    everyone = ["archive", "clinic", "agency"]
    pixels = {}
    for labels in (["agency 90%", "archive 90%"], ["archive 90%"]):
        sheet = grid([Image.new("L", (8, 8))] * len(labels), labels, everyone=everyone)
        pixels[len(labels)] = {colour for _, colour in sheet.getcolors(1 << 16) or []}
    assert colours(everyone)["archive"] == "#e69f00"
    assert all((0xE6, 0x9F, 0x00) in found for found in pixels.values())
    assert (0x00, 0x72, 0xB2) not in pixels[1]
