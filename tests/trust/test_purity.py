"""The package loads nothing that could compute on tensors, reach a network or open a database."""

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import severable_trust

HEAVY = {"torch", "numpy", "diffusers", "flwr", "grpc", "google", "sqlalchemy", "yaml", "tink"}
OUTSIDE = {"sqlite3", "socket", "ssl", "http", "asyncio", "subprocess", "securesystemslib"}
MODULES = sorted(module.name for module in pkgutil.iter_modules(severable_trust.__path__))


def loaded_by(*modules: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after importing these."""
    code = f"import sys, json, {', '.join(modules)}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_the_whole_package_loads_no_network_database_or_tensor_library() -> None:
    loaded = loaded_by(*(f"severable_trust.{name}" for name in MODULES))
    assert loaded & (HEAVY | OUTSIDE) == set()


def test_the_package_itself_loads_nothing_beyond_the_standard_library() -> None:
    assert "cryptography" not in loaded_by("severable_trust")


@pytest.mark.parametrize("name", ["errors", "digest", "canonical", "merkle", "instant", "lifecycle", "tensors"])
def test_the_lowest_modules_need_no_cryptography_library(name: str) -> None:
    assert "cryptography" not in loaded_by(f"severable_trust.{name}")


def test_only_the_command_line_opens_files_and_nothing_reads_a_clock() -> None:
    sources = [path for path in Path(severable_trust.__file__).parent.glob("*.py") if not path.name.startswith("cli")]
    assert len(sources) > 20
    for path in sources:
        text = path.read_text(encoding="utf-8")
        for forbidden in (" open(", "Path(", "import os", "import time", ".now(", "utcnow", "import random"):
            assert forbidden not in text, f"{path.name} uses {forbidden}"
