"""Images decoded into a mapped file: the values of today's reader, made once, kept only while the set is there."""

import pickle
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from client.image_sets import Sample, as_archives, bomb, png
from client.samples import RECIPE_BYTES, TINY, Federation, make_home, write_images
from PIL import Image
from tools import run_python

from severable_client.adapters.data_folder import open_source
from severable_client.adapters.keys import loose_permissions
from severable_client.adapters.prepared_images import Wanted, prepare, prepare_set
from severable_client.adapters.salt import data_salt
from severable_client.bootstrap import open_home
from severable_client.discretion import Discretion
from severable_client.errors import AbandonedError, DataFolderError, HomeError
from severable_client.home import Layout
from severable_client.training import read_recipe
from severable_client.training_set import TrainingSet
from severable_diffusion.images import read_image_folder
from severable_diffusion.memorization import memorized_share
from severable_diffusion.recipe import Recipe
from severable_diffusion.training import Trainer
from severable_trust.canonical import encode
from severable_trust.shard import ClassCount

SALT = b"s" * 32
GREY = read_recipe(RECIPE_BYTES)
COLOUR = read_recipe(encode(TINY | {"image": {"channels": 3, "size": 8}}))
ASKED = read_recipe(encode(TINY | {"conditions": {"labels": ["two", "one"]}}))


def prepared(folder: Path, recipe: Recipe = GREY, *, fit: bool = False, told: list[int] | None = None) -> TrainingSet:
    wanted = Wanted(recipe=recipe, fit=fit, salt=SALT)
    said = [] if told is None else told
    return prepare_set(open_source(folder), folder.parent / "cache", wanted, lambda done, _total: said.append(done))


def two_classes(root: Path, mode: str = "L") -> Path:
    for number, name in enumerate(["one", "two", "one"]):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / f"{number}.png").write_bytes(png(number, mode=mode))
    return root


@pytest.mark.parametrize(("mode", "recipe"), [("L", GREY), ("RGB", COLOUR)])
def test_every_value_is_the_one_of_the_reader_that_holds_a_folder_in_memory(
    tmp_path: Path, mode: str, recipe: Recipe
) -> None:
    folder = two_classes(tmp_path / "set", mode)
    Image.open(folder / "one" / "0.png").save(folder / "two" / "z.jpg", quality=90)
    held = read_image_folder(folder, recipe.image).images_NCHW
    mapped = prepared(folder, recipe).images_NCHW
    rows_B = torch.tensor([3, 0, 0, 2, 1])
    assert len(mapped) == len(held) == 4
    assert torch.equal(mapped[rows_B], held[rows_B])
    assert mapped[rows_B].is_contiguous()
    assert mapped[rows_B].dtype is torch.float32


def test_another_process_is_sent_the_name_of_the_file_and_not_what_is_in_it(tmp_path: Path) -> None:
    images_NCHW = prepared(write_images(tmp_path / "set")).images_NCHW
    sent = pickle.dumps(images_NCHW)  # as multiprocessing does
    assert len(sent) < len(images_NCHW) * 64
    rows_B = torch.arange(len(images_NCHW))
    assert torch.equal(pickle.loads(sent)[rows_B], images_NCHW[rows_B])  # noqa: S301  # our own bytes


def test_training_on_rows_of_the_file_gives_the_same_weights(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "set")
    mapped, held = prepared(folder).images_NCHW, read_image_folder(folder, GREY.image).images_NCHW
    first, second = (Trainer(GREY, images, 7).run().state_dict for images in (mapped, held))
    assert all(torch.equal(first[name], second[name]) for name in second)
    samples_NCHW = torch.cat([held[:2], -held[:2]])
    assert memorized_share(samples_NCHW, mapped) == memorized_share(samples_NCHW, held)


def test_labels_are_matched_by_name_and_counted_in_the_digest(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "set")
    found = prepared(folder, ASKED)
    assert found.label_N is not None
    assert found.label_N.dtype is torch.int64
    assert found.label_N.tolist() == [1, 1, 0]  # the recipe counts "two" first
    assert found.data.classes == (ClassCount("one", 2), ClassCount("two", 1))
    unasked = prepared(folder)
    assert unasked.label_N is None
    assert unasked.data == replace(found.data, classes=())


def test_a_class_that_the_recipe_does_not_know_is_named_before_anything_is_kept(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "set")
    (folder / "two").rename(folder / "tow")
    with pytest.raises(DataFolderError, match=r"class 'tow' is none of the 2 labels .*\(two, one\)"):
        prepared(folder, ASKED)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("decoded_before", [False, True])
def test_the_name_of_a_class_stands_behind_the_folders_path_so_that_the_coordinator_is_not_told_it(
    tmp_path: Path, decoded_before: bool
) -> None:
    folder = two_classes(tmp_path / "set")
    (folder / "two").rename(folder / "Jane Doe")
    if decoded_before:
        prepared(folder)
    wanted = Wanted(recipe=ASKED, fit=False, salt=SALT, data=str(folder))
    with pytest.raises(DataFolderError, match="class 'Jane Doe'") as refused:
        prepare_set(open_source(folder), tmp_path / "cache", wanted, lambda _done, _total: None)
    assert "Jane" not in Discretion(folder)(str(refused.value))


def test_a_set_is_decoded_once_and_removed_when_it_changes(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "set")
    prepared(folder)
    (first,) = (tmp_path / "cache").iterdir()
    made = (first / "pixels.bin").stat().st_mtime_ns
    prepared(folder)
    prepared(folder, fit=True)
    assert (first / "pixels.bin").stat().st_mtime_ns == made
    assert len(list((tmp_path / "cache").iterdir())) == 2  # another image space of the same set
    (folder / "one" / "0.png").unlink()
    assert len(prepared(folder).images_NCHW) == 2
    (second,) = (tmp_path / "cache").iterdir()
    assert second.name != first.name


def test_tar_archives_give_the_same_set(tmp_path: Path) -> None:
    samples = [Sample(f"{number}", png(number), "set") for number in range(3)]
    archives = prepared(as_archives(tmp_path / "archives", samples))
    (tmp_path / "set").mkdir()
    for sample in samples:
        (tmp_path / "set" / f"{sample.name}.png").write_bytes(sample.content)
    folder = prepared(tmp_path / "set")
    assert archives.data == folder.data
    assert torch.equal(archives.images_NCHW[torch.arange(3)], folder.images_NCHW[torch.arange(3)])


def test_a_reading_that_is_given_up_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "set")

    def lost(done: int, _total: int) -> None:
        if done == 2:
            raise AbandonedError("the daemon has ended")

    with pytest.raises(AbandonedError):
        prepare_set(open_source(folder), tmp_path / "cache", Wanted(recipe=GREY, fit=False, salt=SALT), lost)
    assert list((tmp_path / "cache").iterdir()) == []


def test_another_salt_is_another_root_over_the_same_prepared_images(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "set")
    first = prepared(folder)
    wanted = Wanted(recipe=GREY, fit=False, salt=b"t" * 32)
    second = prepare_set(open_source(folder), tmp_path / "cache", wanted, lambda _done, _total: None)
    assert first.data.root != second.data.root
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_what_a_killed_worker_left_is_removed(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "set")
    (tmp_path / "cache" / ".part-x" / "set").mkdir(parents=True)
    prepared(folder)
    (held,) = (tmp_path / "cache").iterdir()
    assert held.name.startswith("1x8-")


def test_a_damaged_cache_is_named(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "set")
    prepared(folder)
    (held,) = (tmp_path / "cache").iterdir()
    (held / "labels.bin").write_bytes(b"")
    with pytest.raises(DataFolderError, match="is damaged"):
        prepared(folder)
    (held / "classes.json").write_text("no JSON")
    with pytest.raises(DataFolderError, match="is damaged"):
        prepared(folder)


def test_an_image_of_another_size_or_mode_is_named_unless_it_is_made_to_fit(tmp_path: Path) -> None:
    large = write_images(tmp_path / "large" / "set", count=3, size=12, mode="RGB")
    with pytest.raises(DataFolderError, match=r"000\.png: is 12x12"):
        prepared(large)
    colour = write_images(tmp_path / "colour" / "set", mode="RGB")
    with pytest.raises(DataFolderError, match="RGB"):
        prepared(colour)
    assert prepared(large, fit=True).images_NCHW[torch.tensor([0])].shape == (1, 1, 8, 8)


def test_a_picture_that_fits_is_not_changed_by_making_it_fit(tmp_path: Path) -> None:
    folder = two_classes(tmp_path / "set")
    rows_N = torch.arange(3)
    assert torch.equal(prepared(folder).images_NCHW[rows_N], prepared(folder, fit=True).images_NCHW[rows_N])


def test_an_image_with_transparency_is_not_made_to_fit(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    Image.new("RGBA", (8, 8)).save(tmp_path / "set" / "a.png")
    with pytest.raises(DataFolderError, match="transparency"):
        prepared(tmp_path / "set", fit=True)


@pytest.mark.parametrize("fit", [False, True])
@pytest.mark.parametrize("side", [3_500, 5_000, 20_000])
def test_a_decompression_bomb_is_refused_undecoded(tmp_path: Path, side: int, *, fit: bool) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "bomb.png").write_bytes(bomb(20_000, side))
    with pytest.raises(DataFolderError, match=r"bomb\.png.*(pixels|million)"):
        prepared(tmp_path / "set", fit=fit)


def test_the_salt_is_made_once_and_only_its_owner_can_read_it(federation: Federation, tmp_path: Path) -> None:
    home = open_home(make_home(federation, tmp_path))
    before = prepare(home, GREY, lambda _done, _total: None).data
    path = home.layout.data_salt
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert data_salt(home.layout) == path.read_bytes()
    assert prepare(home, GREY, lambda _done, _total: None).data == before
    assert [found.name for found in home.layout.keys.glob("*.part")] == []
    path.chmod(0o644)
    assert path in loose_permissions(home.layout)


def test_a_salt_of_another_length_is_named(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.keys.mkdir()
    layout.data_salt.write_bytes(b"short")
    with pytest.raises(HomeError, match="does not hold 32 bytes"):
        data_salt(layout)


IN_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
import torch
from client.test_prepared_images import SALT, big_recipe
from severable_client.adapters.data_folder import open_source
from severable_client.adapters.prepared_images import Wanted, prepare_set
from severable_client.catalogue import Picture
torch.zeros(64, 64) @ torch.zeros(64, 64)  # what torch sets aside once is not the set's
status = Path("/proc/self/status").read_text().split("VmData:")[1].split()
limit = (int(status[0]) << 10) + (int(sys.argv[2]) << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
folder = Path(sys.argv[1])
wanted = Wanted(recipe=big_recipe(), fit=False, salt=SALT)
images = prepare_set(open_source(folder), folder.parent / "cache", wanted, lambda done, total: None).images_NCHW
total = 0.0
for row in range(len(images)):
    total += float(images[torch.tensor([row])].mean())
print(len(images), abs(round(total, 3)))
try:
    bytearray(len(images) * 3 << 18)
except MemoryError:
    print("the set itself does not fit")
"""


def big_recipe() -> Recipe:
    return read_recipe(encode(TINY | {"image": {"channels": 3, "size": 512}}))


def test_a_set_several_times_larger_than_the_memory_allowed_is_prepared_and_read(tmp_path: Path) -> None:
    """192 MiB of pixels (768 as floats), 48 MiB of memory beyond what torch has: the kernel's limit, not a figure."""
    folder = tmp_path / "set"
    folder.mkdir()
    for number in range(256):
        Image.new("RGB", (512, 512), (number, number, number)).save(folder / f"{number:03d}.png", compress_level=1)
    done = run_python(IN_LITTLE_MEMORY, str(folder), "48")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == ["256 0.0", "the set itself does not fit"]
