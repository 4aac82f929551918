"""Where a training's figures go: event files that TensorBoard reads, and MLflow where an owner has one.

Event files are written record by record in the calling thread, not by the library's writer thread: a full disk is then
an error of the training and not a traceback of a thread.
"""

import contextlib
import importlib
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from severable_client.adapters.files import storage
from severable_client.errors import ConfigError

FILE_VERSION = "brain.Event:2"  # what every event file begins with
SAMPLES = "samples"


class EventFile:
    """One event file of one sitting of a training.

    Args:
        folder: where it lies; there already.
        clock: seconds since 1970, written into every event.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        # TensorBoard reads a folder's event files in the order of their names.
        self._path = folder / f"events.out.tfevents.{int(clock()):010d}.training.{os.getpid()}"
        with storage(f"{self._path} cannot be opened"):
            self._records = RecordWriter(str(self._path))
        self._write(Event(wall_time=clock(), file_version=FILE_VERSION))

    def begin(self, step: int) -> None:
        """Make TensorBoard drop what an earlier sitting wrote of steps that are done again now."""
        if step:
            start = SessionLog(status=SessionLog.START)
            self._write(Event(wall_time=self._clock(), step=step + 1, session_log=start))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Write the figures of a step."""
        written = [Summary.Value(tag=name, simple_value=value) for name, value in sorted(values.items())]
        self._write(Event(wall_time=self._clock(), step=step, summary=Summary(value=written)))

    def picture(self, step: int, image: Image.Image) -> None:
        """Write a picture of samples."""
        data = io.BytesIO()
        image.save(data, format="PNG")
        drawn = Summary.Image(
            height=image.height, width=image.width, colorspace=3, encoded_image_string=data.getvalue()
        )
        summary = Summary(value=[Summary.Value(tag=SAMPLES, image=drawn)])
        self._write(Event(wall_time=self._clock(), step=step, summary=summary))

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):  # every event was flushed; what is left is what the disk had refused
            self._records.close()

    def _write(self, event: Event) -> None:
        with storage(f"{self._path} cannot be written"):
            self._records.write(event.SerializeToString())
            self._records.flush()


class MlflowFigures:
    """A run of an owner's own MLflow; every sitting of a job goes on with the job's run.

    Args:
        uri: MLflow's tracking URI.
        name: of the run, the job's id.
        say: told one line when MLflow does not take something; the training goes on.

    Raises:
        ConfigError: MLflow is not installed, or cannot be reached.
    """

    def __init__(self, uri: str, name: str, say: Callable[[str], None]) -> None:
        self._say, self._silent = say, False
        try:
            mlflow = importlib.import_module("mlflow")
        except ImportError as error:
            raise ConfigError(
                f"config.yaml: field 'mlflow' is {uri!r}, but mlflow is not installed here; "
                "install it beside severable-client, or leave the field empty"
            ) from error
        self._refused: tuple[type[Exception], ...] = (mlflow.exceptions.MlflowException, OSError)
        self._client = mlflow.MlflowClient(uri)
        try:
            self._run = self._run_of(name)
        except self._refused as error:
            raise ConfigError(f"config.yaml: field 'mlflow': {uri} does not answer: {_one_line(error)}") from error

    def _run_of(self, name: str) -> str:
        """Return the id of the run with this name, made if it is not there."""
        known = self._client.search_runs(["0"], filter_string=f"attributes.run_name = '{name}'", max_results=1)
        return str((known[0] if known else self._client.create_run("0", run_name=name)).info.run_id)

    def begin(self, step: int) -> None:
        """Do nothing: MLflow keeps every value that a step was given."""

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Log the figures of a step."""
        for name, value in sorted(values.items()):
            self._try(self._client.log_metric, self._run, name, value, step=step)

    def picture(self, step: int, image: Image.Image) -> None:
        """Do nothing: samples stay on this machine, wherever MLflow is."""

    def close(self) -> None:
        """Leave the run open: a later sitting may go on with it."""

    def _try(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        if self._silent:
            return
        try:
            call(*args, **kwargs)
        except self._refused as error:
            self._silent = True
            self._say(f"MLflow is told nothing more in this sitting: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
