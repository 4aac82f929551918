"""The folder of one job's training: its checkpoint, sample pictures and event files. It stays on this machine."""

import io
from pathlib import Path

from PIL import Image

from severable_client.adapters.files import storage, write_whole
from severable_diffusion import checkpoint
from severable_diffusion.training import Trainer

CHECKPOINT = "checkpoint.safetensors"
PRIVATE = 0o600


class TrainingFolder:
    """A training's checkpoint and pictures on disk.

    Args:
        folder: made when something is first kept.

    Attributes:
        images: names the images trained on, once they are known: a checkpoint is not taken up with others.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = ""
        self._checkpoint = folder / CHECKPOINT

    def make(self) -> None:
        """Make the folder, and the one around it, for this user alone.

        Raises:
            StorageError: the disk is full or refuses.
        """
        with storage(f"{self.folder} cannot be made"):
            for folder in (self.folder.parent, self.folder):  # `mode` is of the last one that mkdir makes
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keep(self, trainer: Trainer, seconds: float) -> None:
        """Write the checkpoint, whole or not at all."""
        self.make()
        with storage(f"{self._checkpoint} cannot be written"):
            checkpoint.write(self._checkpoint, trainer, seconds=seconds, images=self.images)

    def take_up(self, trainer: Trainer) -> float | None:
        """Restore the checkpoint, if there is one."""
        if not self._checkpoint.exists():
            return None
        return checkpoint.restore(self._checkpoint, trainer, images=self.images)

    def picture(self, step: int, image: Image.Image) -> None:
        """Write a PNG named by its step."""
        self.make()
        data = io.BytesIO()
        image.save(data, format="PNG")
        write_whole(self.folder / f"samples-{step:08d}.png", data.getvalue(), PRIVATE)

    def forget(self) -> None:
        """Remove the checkpoint: the job needs it no more. Pictures and figures stay for people."""
        for path in (self._checkpoint, self._checkpoint.with_name(f"{CHECKPOINT}.part")):
            with storage(f"{path} cannot be removed"):
                path.unlink(missing_ok=True)
