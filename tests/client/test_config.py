from dataclasses import fields
from pathlib import Path

import pytest

from severable_client.adapters.config import Config, Precision, Release, read_config, write_config
from severable_client.consent import Rule
from severable_client.errors import ConfigError, HomeError

CONFIG = Config(
    party="a", legal_name="Ä & Co", exchange="h:1", fleet="h:2", data="/d", threads=3, fit=True, approve=Rule.CONTRACT,
    release=Release.MANUAL, grace_s=0, statement_key="pkcs11:token=t", device="cuda", devices=2, accumulate=4,
    checkpoint_minutes=0.5, grid_minutes=0.0, tensorboard=False, mlflow="http://m", precision=Precision.FP16,
)  # fmt: skip


def test_a_configuration_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_config(tmp_path / "config.yaml", CONFIG)
    assert read_config(tmp_path / "config.yaml") == CONFIG
    assert [field.name for field in fields(Config) if getattr(CONFIG, field.name) == field.default] == []


def test_without_a_file_it_is_no_home(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="severable-client join"):
        read_config(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("party: 7", "'party'"),
        ("threads: 0", "'threads'"),
        ("threads: true", "'threads'"),
        ("fit: 1", "'fit' must be true or false"),
        ("approve: always", "'approve' must be ask or contract"),
        ("approve: [ask]", "'approve' must be ask or contract"),
        ("release: later", "'release' must be automatic or manual"),
        ("grace_s: -1", "'grace_s' must be a whole number from 0 to 3600"),
        ("statement_key: 3", "'statement_key' must be text"),
        ("colour: red", "unknown field 'colour'"),
        ("data: ''", "'data'"),
        ("party: [", "not YAML"),
        ("device: gpu", "'device' must be cpu, cuda or cuda:N"),
        ("device: cuda:1", "'device' must be cpu or cuda, since 'devices' is more than 1, and is 'cuda:1'"),
        ("devices: 0", "'devices' must be a whole number from 1 to 64"),
        ("precision: half", "'precision' must be auto or float32 or bf16 or fp16"),
        ("accumulate: 0", "'accumulate' must be a whole number from 1 to 4096"),
        ("checkpoint_minutes: 0", "'checkpoint_minutes' must be minutes from 0.01 to 1440"),
        ("checkpoint_minutes: often", "'checkpoint_minutes'"),
        ("grid_minutes: .nan", "'grid_minutes' must be minutes from 0 to 1440"),
        ("tensorboard: 1", "'tensorboard' must be true or false"),
        ("mlflow: 3", "'mlflow' must be text"),
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


def test_a_home_from_before_a_field_was_there_has_its_default(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("party: a\nlegal_name: A\nexchange: h:1\nfleet: h:2\ndata: /d\n")
    assert read_config(path) == Config(party="a", legal_name="A", exchange="h:1", fleet="h:2", data="/d")


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("party: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match="not YAML"):
        read_config(path)
