"""Attacks inside the files of a shard, against the running service: pickles, polyglots, headers, hostile configs."""

import io
import json
import pickle
import resource
import struct
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from coordinator.federation import World, recipe, shard_files
from trust.samples import Federation, Keys, make_claim, prove

from severable_coordinator.adapters.recipes import read_recipe
from severable_coordinator.errors import ConfigError, RefusedError
from severable_diffusion import network
from severable_diffusion.architecture import Architecture
from severable_diffusion.errors import RecipeError
from severable_trust.errors import AdmissionError
from severable_trust.verifier import admit

Files = dict[str, bytes]
WEIGHTS, CONFIG = "model.safetensors", "config.json"


EMPTY: dict[str, object] = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "home")
    made.join("archive")
    made.agree("archive")
    return made


def refused(world: World, files: Files) -> str:
    """Why the service refuses these files, which their owner signed as they are; nothing of them is kept."""
    verdict = world.upload("archive", world.claim("archive", files), files)
    assert not verdict.admitted
    assert "\n" not in verdict.reason
    assert world.coordinator.vault.names("archive") == []
    assert world.coordinator.shards.shards(None) == []
    return verdict.reason


def with_weights(data: bytes) -> Files:
    return {**shard_files("archive"), WEIGHTS: data}


def with_config(**changes: object) -> Files:
    files = shard_files("archive")
    config = json.loads(files[CONFIG]) | changes
    return {**files, CONFIG: (json.dumps(config, sort_keys=True, indent=2) + "\n").encode()}


def rewritten(change: Callable[[dict[str, dict[str, object]]], None]) -> bytes:
    """The weights with another header over the same data."""
    data = shard_files("archive")[WEIGHTS]
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    change(header)
    return framed(json.dumps(header).encode(), data[8 + size :])


def framed(header: bytes, data: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


class Bomb:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.write_text, (self._path, "boom"))


def test_a_pickle_under_the_name_of_the_weights_is_refused_and_never_opened(world: World, tmp_path: Path) -> None:
    fuse = tmp_path / "fuse"
    stream = io.BytesIO()
    torch.save({"weight": torch.zeros(1), "bomb": Bomb(fuse)}, stream)
    for data in (pickle.dumps(Bomb(fuse)), stream.getvalue()):
        assert "8 tensors" in refused(world, with_weights(data))
    assert not fuse.exists()


def test_a_zip_archive_behind_or_inside_the_weights_is_refused(world: World) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("archive/data.pkl", b"\x80\x04.")
    assert "tensors end at byte" in refused(world, with_weights(shard_files("archive")[WEIGHTS] + archive.getvalue()))


def test_a_file_that_python_would_load_instead_is_no_file_of_a_claim(world: World) -> None:
    files = shard_files("archive")
    for name in ("pytorch_model.bin", "model.py", "modeling.pt"):
        with pytest.raises(Exception, match="files are not exactly"):
            world.claim("archive", {**files, name: b"x"})


def test_a_header_with_one_tensor_named_twice_is_refused(world: World) -> None:
    data = shard_files("archive")[WEIGHTS]
    size = struct.unpack("<Q", data[:8])[0]
    header = data[8 : 8 + size].rstrip()
    first = header[1 : header.index(b"}") + 1]
    assert "twice" in refused(world, with_weights(framed(b"{" + first + b"," + header[1:], data[8 + size :])))


@pytest.mark.parametrize(("count", "reason"), [(400_000, "longer than a megabyte"), (15_000, "is missing")])
def test_four_hundred_thousand_empty_tensors_are_refused_in_no_time(count: int, reason: str) -> None:
    """By the verifier itself, as a handover reaches it; so many as a header can name are no trouble either."""
    federation = Federation.build(Keys.generate())
    names = {f"t{number}": EMPTY for number in range(count)}
    weights = framed(json.dumps(names).encode(), b"")
    files = {"config.json": federation.policy().config, "manifest.json": b"{}", WEIGHTS: weights}
    claim = prove(make_claim(federation.contract.id, files), federation.keys.alice)
    begun = time.monotonic()
    with pytest.raises(AdmissionError, match=reason):
        admit(
            claim.envelope.to_bytes(),
            {name: io.BytesIO(data) for name, data in files.items()},
            replace(federation.policy(), max_bytes=1 << 30),
        )
    assert time.monotonic() - begun < 5


def test_four_hundred_thousand_empty_tensors_are_too_large_a_claim_for_a_small_recipe(world: World) -> None:
    names = {f"t{number}": EMPTY for number in range(400_000)}
    files = with_weights(framed(json.dumps(names).encode(), b""))
    with pytest.raises(RefusedError, match="bytes by its claim, a shard of this recipe at most"):
        world.coordinator.admission.open("archive", world.claim("archive", files).to_bytes())


Header = dict[str, dict[str, object]]


def a_path_as_a_name(header: Header) -> None:
    header["../../etc/x"] = header.pop(next(iter(header)))


def a_tensor_too_many(header: Header) -> None:
    header["extra"] = EMPTY


def another_dtype(header: Header) -> None:
    next(iter(header.values()))["dtype"] = "F8_E4M3"


def offsets_beyond_the_file(header: Header) -> None:
    next(iter(header.values()))["data_offsets"] = [0, 1 << 60]


def two_metadata_keys(header: Header) -> None:
    header["__metadata__"] = {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (a_path_as_a_name, "is missing"),
        (a_tensor_too_many, "not in the recipe"),
        (another_dtype, "does not fill"),
        (offsets_beyond_the_file, "does not fill"),
        (two_metadata_keys, "metadata"),
    ],
)
def test_a_header_that_says_something_else_is_refused(
    world: World, change: Callable[[dict[str, dict[str, object]]], None], why: str
) -> None:
    assert why in refused(world, with_weights(rewritten(change)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_last_number_that_is_not_finite_is_found(world: World, value: float) -> None:
    data = shard_files("archive")[WEIGHTS]
    assert "9 finite" in refused(world, with_weights(data[:-4] + struct.pack("<f", value)))


@pytest.mark.parametrize(
    "changes",
    [
        {"_class_name": "os.system"},
        {"_class_name": ["some_module", "Evil"]},
        {"auto_map": {"AutoModel": "evil.Model"}},
        {"trust_remote_code": True},
        {"block_out_channels": [1 << 30]},
        {"_name_or_path": "https://evil.example/model"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_config_other_than_the_recipes_own_is_never_interpreted(world: World, changes: dict[str, object]) -> None:
    assert "7 configuration" in refused(world, with_config(**changes))


def test_a_recipe_of_a_giant_network_is_sized_on_the_meta_device_and_refused_before_anything_is_allocated() -> None:
    usual = recipe()
    assert isinstance(usual.architecture, Architecture)
    widest = replace(
        usual.architecture, block_out_channels=(1024,) * 6, layers_per_block=4, norm_num_groups=32,
        down_block_types=("AttnDownBlock2D",) * 6, up_block_types=("AttnUpBlock2D",) * 6,
    )  # fmt: skip
    giant = replace(usual, architecture=widest, image=replace(usual.image, size=32))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for use in (network.expected_tensors, network.build):
        with pytest.raises(RecipeError, match=r"has \d+ weights; must have 1073741824 or fewer"):
            use(giant)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kb < 200 << 10  # its weights alone would be 7.7 GB


def test_a_recipe_beyond_the_bounds_names_the_field_and_the_file(tmp_path: Path) -> None:
    value = recipe().to_dict()
    value["architecture"]["block_out_channels"] = [1 << 20]
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(value))
    with pytest.raises(ConfigError, match=r"recipe\.json.*block_out_channels"):
        read_recipe(path)


def test_a_recipe_file_of_a_giant_network_names_the_file(tmp_path: Path) -> None:
    """Within every field's bounds, and still two thousand million parameters."""
    value = recipe().to_dict()
    value["image"]["size"] = 32
    blocks = {"down_block_types": ["AttnDownBlock2D"] * 6, "up_block_types": ["AttnUpBlock2D"] * 6}
    value["architecture"] |= {"block_out_channels": [1024] * 6, "layers_per_block": 4, **blocks}
    path = tmp_path / "giant.json"
    path.write_text(json.dumps(value))
    with pytest.raises(ConfigError, match=r"giant\.json: recipe field architecture"):
        read_recipe(path)
