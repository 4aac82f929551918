"""Event files as TensorBoard reads them, and an MLflow that is not there."""

import struct
from pathlib import Path

import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from severable_client.adapters.figures import EventFile, MlflowFigures
from severable_client.errors import ConfigError


def events(folder: Path) -> list[Event]:
    """Read a folder's only event file: length, checksum, record, checksum, as in TensorFlow's TFRecord."""
    (path,) = folder.glob("events.out.tfevents.*")
    data, found = path.read_bytes(), []
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        assert struct.unpack("<I", data[8:12])[0] == masked_crc32c(data[:8])
        record = data[12 : 12 + size]
        assert struct.unpack("<I", data[12 + size : 16 + size])[0] == masked_crc32c(record)
        found.append(Event.FromString(record))
        data = data[16 + size :]
    return found


def test_figures_and_pictures_are_events_with_their_steps(tmp_path: Path) -> None:
    figures = EventFile(tmp_path, clock=lambda: 1000.0)
    figures.begin(0)
    figures.scalars(3, {"loss": 0.5, "held_out_loss": 0.25})
    figures.picture(3, Image.new("RGB", (4, 2)))
    figures.close()
    first, scalars, picture = events(tmp_path)
    assert first.file_version == "brain.Event:2"
    assert (scalars.step, scalars.wall_time) == (3, 1000.0)
    assert {one.tag: one.simple_value for one in scalars.summary.value} == {"loss": 0.5, "held_out_loss": 0.25}
    (drawn,) = picture.summary.value
    assert (drawn.tag, drawn.image.width, drawn.image.height) == ("samples", 4, 2)
    assert drawn.image.encoded_image_string.startswith(b"\x89PNG")


def test_a_later_sitting_takes_back_the_steps_that_are_done_again(tmp_path: Path) -> None:
    figures = EventFile(tmp_path)
    figures.begin(40)
    figures.close()
    _, start = events(tmp_path)
    assert start.step == 41
    assert start.session_log.status == SessionLog.START


def test_an_event_file_does_not_name_the_machine(tmp_path: Path) -> None:
    import socket

    EventFile(tmp_path).close()
    assert socket.gethostname() not in next(tmp_path.iterdir()).name


def test_mlflow_that_is_asked_for_and_not_installed_is_an_error_that_names_the_field() -> None:
    with pytest.raises(ConfigError, match=r"field 'mlflow' is 'http://127\.0\.0\.1:9', but mlflow is not installed"):
        MlflowFigures("http://127.0.0.1:9", "job", lambda _: None)
