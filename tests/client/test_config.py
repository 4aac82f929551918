from pathlib import Path

import pytest

from severable_client.adapters.config import Config, read_config, write_config
from severable_client.errors import ConfigError, HomeError

CONFIG = Config(party="a", legal_name="Ä & Co", exchange="h:1", fleet="h:2", data="/d", threads=3)


def test_a_configuration_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_config(tmp_path / "config.yaml", CONFIG)
    assert read_config(tmp_path / "config.yaml") == CONFIG


def test_without_a_file_it_is_no_home(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="severable-client join"):
        read_config(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("party: 7", "'party'"),
        ("threads: 0", "'threads'"),
        ("threads: true", "'threads'"),
        ("release: later", "'release' must be automatic or manual"),
        ("colour: red", "unknown field 'colour'"),
        ("data: ''", "'data'"),
        ("party: [", "not YAML"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "config.yaml"
    write_config(path, CONFIG)
    name = line.partition(":")[0]
    kept = [old for old in path.read_text().splitlines() if not old.startswith(f"{name}:")]
    path.write_text("\n".join([*kept, line]))
    with pytest.raises(ConfigError, match=says):
        read_config(path)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("party: a\n")
    with pytest.raises(ConfigError, match="'data'"):
        read_config(path)


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("party: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match="not YAML"):
        read_config(path)
