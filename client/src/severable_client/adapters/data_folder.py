"""Which reader a data folder needs: tar archives, or images as files. The images themselves are not opened here."""

from pathlib import Path

from severable_client.adapters.image_folder import SUFFIXES, ImageFolder
from severable_client.adapters.tar_shards import TarShards
from severable_client.catalogue import EVERYTHING, Choice, ImageSource
from severable_client.errors import DataFolderError

ARCHIVE = ".tar"


def open_source(folder: Path, choice: Choice = EVERYTHING) -> ImageSource:
    """Return the reader of a folder of images or of tar archives.

    Args:
        folder: the folder.
        choice: which of its records are read.

    Raises:
        DataFolderError: the folder is missing, is none, cannot be read, or mixes archives with other things.
    """
    if not folder.exists():
        raise DataFolderError(f"data folder {folder} does not exist; give the folder that holds the images")
    if not folder.is_dir() or folder.is_symlink():
        raise DataFolderError(f"data folder {folder} is not a folder; give the folder that holds the images")
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataFolderError(f"{folder} cannot be read ({error.strerror}); check its permissions") from error
    archives = tuple(entry for entry in entries if entry.suffix == ARCHIVE)
    if not archives:
        return ImageFolder(folder, choice)
    for entry in entries:
        if entry not in archives:
            raise DataFolderError(f"{entry} lies beside tar archives; keep them in a folder of their own")
        if entry.is_symlink() or not entry.is_file():
            raise DataFolderError(f"{entry} is a link or no file; put the archive itself there")
    return TarShards(archives, folder.absolute().name, choice)


def count_images(folder: Path) -> int:
    """Return how many images there are by their names; at least 1.

    Raises:
        DataFolderError: as `open_source`, or there is none.
    """
    count = open_source(folder).count()
    if count == 0:
        raise DataFolderError(
            f"data folder {folder} holds no images; put {', '.join(SUFFIXES)} files there, or one folder per class,"
            f" or {ARCHIVE} archives of them"
        )
    return count
