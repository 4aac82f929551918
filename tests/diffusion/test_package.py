import subprocess
import sys

import pytest

import severable_diffusion

LIGHT = """
import sys
import severable_diffusion, severable_diffusion.recipe, severable_diffusion.errors
heavy = {"torch", "diffusers", "matplotlib", "scipy", "numpy", "PIL"} & sys.modules.keys()
sys.exit(f"imported {sorted(heavy)}" if heavy else 0)
"""


def test_importing_recipes_and_errors_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", LIGHT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", severable_diffusion.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(severable_diffusion, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = severable_diffusion.nothing
