"""What importing a part must not load, seen at run time: import-linter reads files, this looks at sys.modules."""

import json
import subprocess
import sys

import pytest

_HEAVY = ("torch", "diffusers", "matplotlib", "sklearn", "scipy")


def loaded(module: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after importing one."""
    code = f"import json, sys; import {module}; print(json.dumps(sorted({{n.split('.')[0] for n in sys.modules}})))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("severable_trust.cli", (*_HEAVY, "numpy", "grpc", "flwr", "sqlalchemy", "severable_diffusion")),
        ("severable_protos.v1.exchange_pb2_grpc", (*_HEAVY, "flwr", "severable_diffusion")),
        ("severable_diffusion.pipeline", ("grpc", "flwr", "sqlalchemy", "cryptography", "severable_trust")),
        ("severable_client.adapters.cli", (*_HEAVY, "severable_coordinator")),
        ("severable_client.bootstrap", (*_HEAVY, "severable_coordinator")),
        ("severable_coordinator.adapters.cli", (*_HEAVY, "severable_client")),
        ("severable_coordinator.bootstrap", (*_HEAVY, "severable_client")),
    ],
)
def test_importing_a_part_does_not_load(module: str, never: tuple[str, ...]) -> None:
    assert loaded(module) & set(never) == set()
