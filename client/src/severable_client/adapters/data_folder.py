"""A cheap look at the image folder, without opening an image: the worker looks at every image, against a recipe."""

from pathlib import Path

from severable_client.errors import DataFolderError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def count_images(folder: Path) -> int:
    """Return how many files of the folder, and of its class folders, are images by their name; at least 1.

    Raises:
        DataFolderError: the folder is missing, is none, cannot be read, or holds no image.
    """
    if not folder.exists():
        raise DataFolderError(f"data folder {folder} does not exist; give the folder that holds the images")
    if not folder.is_dir():
        raise DataFolderError(f"data folder {folder} is not a folder; give the folder that holds the images")
    try:
        count = sum(_is_image(entry) for entry in _files(folder))
    except OSError as error:
        raise DataFolderError(
            f"{error.filename or folder} cannot be read ({error.strerror}); check its permissions"
        ) from error
    if count == 0:
        raise DataFolderError(
            f"data folder {folder} holds no images; put {', '.join(SUFFIXES)} files there, or one folder per class"
        )
    return count


def _files(folder: Path) -> list[Path]:
    found: list[Path] = []
    for entry in folder.iterdir():
        found.extend(entry.iterdir() if entry.is_dir() else [entry])
    return found


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
