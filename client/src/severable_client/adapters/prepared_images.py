"""An owner's images as one recipe wants them: decoded once into a file that is mapped, never held, by its readers.

A folder in the home for each image space and set of images: `pixels.bin` (uint8, N x H x W x C), `labels.bin` (int32,
each image's class), `classes.json` (their names in that order). It is written beside its name and moved there, so that
it is whole or not at all, and folders of sets that are no longer there are removed: an erased image must not live on in
one. Only the worker process imports this module. Shapes: N images, B of a batch, C channels, H height, W width.
"""

import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from severable_client.adapters.data_folder import open_source
from severable_client.adapters.files import storage
from severable_client.adapters.salt import data_salt
from severable_client.bootstrap import Home
from severable_client.catalogue import EVERYTHING, Catalogue, Cataloguer, ImageSource, Picture
from severable_client.erasure import Remaining
from severable_client.errors import DataFolderError
from severable_client.training_set import TrainingSet, label_names, label_rows, require_label
from severable_diffusion.errors import DataError
from severable_diffusion.images import decode, to_tensor
from severable_diffusion.recipe import ImageSpace, Recipe
from severable_trust.shard import SubShard

PIXELS, LABELS, CLASSES = "pixels.bin", "labels.bin", "classes.json"
_PART = ".part-"
_LABEL = np.dtype("<i4")

OnImage = Callable[[int, int], None]  # images read so far, and how many there are by their names


class MappedImages:
    """Images that are read from a file when they are asked for; it is an `ImageRows`.

    Args:
        path: uint8, N x H x W x C.
        image: the recipe's data space.
    """

    def __init__(self, path: Path, image: ImageSpace) -> None:
        self._made_of = (path, image)
        shape = (-1, image.size, image.size, image.channels)
        self._pixels_NHWC = np.memmap(path, np.uint8, mode="r").reshape(shape)

    def __reduce__(self) -> tuple[type["MappedImages"], tuple[Path, ImageSpace]]:
        """Return what another process maps the same file by; its content is not sent."""
        return MappedImages, self._made_of

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._pixels_NHWC)

    def __getitem__(self, rows_B: torch.Tensor, /) -> torch.Tensor:
        """Return the images of these rows (int64), float32 in [-1, 1], shape (B, C, H, W)."""
        return to_tensor(self._pixels_NHWC[rows_B.numpy()])  # picking rows copies them


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What images are prepared for.

    Attributes:
        recipe: the recipe.
        fit: whether images of another size or mode are made to fit.
        salt: the home's secret.
        data: where the images are from, for messages.
        part: the sub-shard whose records the source gives, or None for all.
    """

    recipe: Recipe
    fit: bool
    salt: bytes
    data: str = "the data folder"
    part: SubShard | None = None

    def name(self, catalogue: Catalogue) -> str:
        """Return the folder's name: image space, and the digest of the images in their order."""
        image = self.recipe.image
        return f"{image.channels}x{image.size}{'-fit' if self.fit else ''}-{catalogue.sequence.hex[:32]}"


def prepare(
    home: Home, recipe: Recipe, on_image: OnImage, *, part: SubShard | None = None, erased: Sequence[bytes] = ()
) -> TrainingSet:
    """Return the home's images for a recipe; raises as `prepare_set`, HomeError without a usable salt.

    Args:
        home: the opened home.
        recipe: the recipe.
        on_image: as for `prepare_set`.
        part: the sub-shard that is trained, or None.
        erased: hashes of the records that are left out.
    """
    data, salt = home.config.data, data_salt(home.layout)
    wanted = Wanted(recipe=recipe, fit=home.config.fit, salt=salt, data=data, part=part)
    source = open_source(Path(data), Remaining(salt, erased, part))
    return prepare_set(source, home.layout.images, wanted, on_image)


def look_through(home: Home, recipe: Recipe) -> int:
    """Return how many images fit a recipe, all of them; writes nothing, raises as `prepare_set`."""
    count = 0
    erased = home.erased.all()
    remaining = Remaining(data_salt(home.layout), erased) if erased else EVERYTHING
    for picture in _whole(open_source(Path(home.config.data), remaining), lambda _done, _total: None):
        require_label(picture.record.label, recipe, picture.record.place)
        _decoded(picture, recipe.image, fit=home.config.fit)
        count += 1
    return count


def prepare_set(source: ImageSource, folder: Path, wanted: Wanted, on_image: OnImage) -> TrainingSet:
    """Return a source's images for a recipe, from `folder` if they are there, else decoded into it.

    Args:
        source: the images.
        folder: the home's folder of prepared images.
        wanted: for what.
        on_image: called after each image; what it raises ends the work and leaves nothing behind.

    Raises:
        DataFolderError: the first thing that is no image, or an image or class that does not fit the recipe.
        StorageError: the disk.
    """
    with storage(f"{folder} cannot be made"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):  # reading and hashing is far cheaper than decoding
        cataloguer = Cataloguer(wanted.salt)
        for picture in _whole(source, on_image):
            cataloguer.add(picture.record.label, hashlib.sha256(picture.content).digest())
        catalogue = cataloguer.finish()
        held = folder / wanted.name(catalogue)
        if held.is_dir():
            return _load(held, wanted, catalogue)
    with storage(f"the images cannot be prepared in {folder}"):
        for left in folder.glob(f"{_PART}*"):  # of a worker that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=_PART) as part:
            catalogue = _write(Path(part), source, wanted, on_image)
            held = folder / wanted.name(catalogue)
            shutil.rmtree(held, ignore_errors=True)
            staged = Path(part) / held.name
            staged.rename(held)
        for other in folder.iterdir():
            if not other.name.endswith(catalogue.sequence.hex[:32]):
                shutil.rmtree(other, ignore_errors=True)
    return _load(held, wanted, catalogue)


def _write(part: Path, source: ImageSource, wanted: Wanted, on_image: OnImage) -> Catalogue:
    """Decode every image into a folder below `part` and return the catalogue of what was written."""
    staged = part / "set"
    staged.mkdir()
    classes: dict[str, int] = {}
    cataloguer = Cataloguer(wanted.salt)
    with (staged / PIXELS).open("wb") as pixels, (staged / LABELS).open("wb") as labels:
        for picture in _whole(source, on_image):
            label = picture.record.label
            if label not in classes:
                require_label(label, wanted.recipe, picture.record.place)
            pixels.write(_decoded(picture, wanted.recipe.image, fit=wanted.fit).tobytes())
            labels.write(np.array(classes.setdefault(label, len(classes)), _LABEL).tobytes())
            cataloguer.add(label, hashlib.sha256(picture.content).digest())
    catalogue = cataloguer.finish()
    if not catalogue.images and wanted.part is not None:
        count = wanted.part.count
        raise DataFolderError(
            f"{wanted.part} holds no images; `severable-client data check --sub-shards {count}` tells their sizes,"
            " a contract with fewer of them makes each larger"
        )
    if not catalogue.images:
        raise DataFolderError("the data folder holds no images; see `severable-client data check`")
    (staged / CLASSES).write_text(json.dumps(list(classes)), encoding="utf-8")
    staged.rename(part / wanted.name(catalogue))
    return catalogue


def _load(held: Path, wanted: Wanted, catalogue: Catalogue) -> TrainingSet:
    try:
        with storage(f"{held} cannot be read"):
            classes: list[str] = json.loads((held / CLASSES).read_bytes())
            class_N = torch.from_numpy(np.fromfile(held / LABELS, _LABEL).astype(np.int64))
            images_NCHW = MappedImages(held / PIXELS, wanted.recipe.image)
    except ValueError as error:
        raise DataFolderError(f"{held} is damaged ({error}); remove it, it is made again") from error
    if not len(images_NCHW) == len(class_N) == catalogue.images or len(classes) != len(catalogue.classes):
        raise DataFolderError(f"{held} is damaged (something is missing); remove it, it is made again")
    return TrainingSet(
        images_NCHW=images_NCHW,
        label_N=label_rows(class_N, tuple(classes), wanted.recipe, wanted.data),
        data=catalogue.claimed(label_names(wanted.recipe)),
    )


def _whole(source: ImageSource, on_image: OnImage) -> Iterator[Picture]:
    """Yield every image, or raise DataFolderError at the first thing that is none."""
    total = source.count()
    for done, found in enumerate(source.scan(), 1):
        if not isinstance(found, Picture):
            raise DataFolderError(str(found))
        yield found
        on_image(done, total)


def _decoded(picture: Picture, image: ImageSpace, *, fit: bool) -> np.ndarray:
    stream: BinaryIO = io.BytesIO(picture.content)
    try:
        return decode(stream, image, Path(picture.record.place), fit=fit)
    except DataError as error:
        raise DataFolderError(str(error)) from error
