"""What this machine has: an NVIDIA driver, free memory, and what torch makes of it: a process of its own is asked."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from severable_client.adapters.unwell import UnwellError

FACTS_TIMEOUT_S = 300.0
LOOK_TIMEOUT_S = 300.0  # for each recipe: every image is decoded

_DRIVER = Path("/proc/driver/nvidia/version")
_MEMORY = Path("/proc/meminfo")
_GROUP_LIMIT, _GROUP_USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
_INSTALL = "install severable-client again"


def torch_facts(home: Path, recipes: Sequence[str]) -> dict[str, Any]:
    """Return what the process of `severable_client.torch_facts` says; under "images" by recipe how the images fit it.

    Raises:
        UnwellError: it cannot be run: torch is missing, or does not fit this machine.
    """
    command = [sys.executable, "-P", "-m", "severable_client.torch_facts", "--home", str(home)]
    for digest in recipes:
        command += ["--recipe", digest]
    said, trouble = _said_by(command, FACTS_TIMEOUT_S + LOOK_TIMEOUT_S * len(recipes))
    lines = [line for line in said if line.startswith("{")]  # a library may have something to say as well
    if not lines:
        raise UnwellError(f"torch cannot be loaded: {trouble}", _INSTALL)
    found, *fits = (json.loads(line) for line in lines)
    fits += [{"problem": f"the images could not be looked through: {trouble}"}] * (len(recipes) - len(fits))
    facts: dict[str, Any] = found | {"images": dict(zip(recipes, fits, strict=True))}
    return facts


def _said_by(command: Sequence[str], timeout_s: float) -> tuple[list[str], str]:
    """Return the whole lines that a process wrote, and what became of it if it did not end well."""
    try:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ, text=True
        ) as one:
            try:
                said, complained = one.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                one.kill()
                said, _ = one.communicate()
                return said[: said.rfind("\n") + 1].splitlines(), f"after {timeout_s:.0f} s it was not over"
    except OSError as error:
        raise UnwellError(f"the worker's process cannot be run: {error}", _INSTALL) from error
    if one.returncode == 0:
        return said.splitlines(), ""
    last = complained.strip().splitlines()
    return said.splitlines(), last[-1] if last else f"exit code {one.returncode}"


def driver() -> str:
    """Return the NVIDIA driver's version, "" where there is none."""
    try:
        text = _DRIVER.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(r"Kernel Module\D*([0-9.]+)", text)
    return found[1] if found else "of unknown version"


def torch_against_driver(found: dict[str, Any], version: str) -> str:
    """Return one line about torch, the driver and the GPUs.

    Raises:
        UnwellError: torch was built for CUDA and there is a driver, and still it sees no GPU.
    """
    torch = f"torch {found['torch']}" + (f" for CUDA {found['cuda_build']}" if found["cuda_build"] else ", CPU build")
    if found["devices"]:
        names = ", ".join(f"{device['name']} ({device['free'] / 2**30:.0f} GiB free)" for device in found["devices"])
        return f"{torch}, driver {version or 'unknown'}: {names}"
    if not version:
        return f"{torch}; no NVIDIA driver is here, shards are trained on the CPU"
    if not found["cuda_build"]:
        return f"{torch}; NVIDIA driver {version} is here and not used, torch for CUDA would be needed for that"
    raise UnwellError(
        f"{torch} sees no GPU, though NVIDIA driver {version} is here",
        f"update the driver to one for CUDA {found['cuda_build']}, or install a torch for the driver's CUDA",
    )


def training_on(found: dict[str, Any]) -> str:
    """Return one line about how a training would compute, out of that process's words.

    Raises:
        UnwellError: not as config.yaml says.
    """
    if "problem" in found["training"]:
        remedy = "correct `device` and `devices` in config.yaml"
        raise UnwellError(found["training"]["problem"], remedy)
    line: str = found["training"]["line"]
    return line


def memory_for(need: dict[str, Any], available: int) -> str:
    """Return one line about the memory that a recipe takes, out of that process's words.

    Raises:
        UnwellError: it is more than there is, or the recipe cannot be followed.
    """
    if "problem" in need:
        raise UnwellError(need["problem"], "ask the coordinator for a recipe that this version can follow")
    parts = ", ".join(f"{name} {_mib(need[name])}" for name in ("weights", "gradients", "optimizer", "activations"))
    line = f"{need['name']!r} takes about {_mib(need['total'])} ({parts}); {_mib(available)} are free"
    if need["total"] > available:
        remedy = "end other programs, add memory, or ask the coordinator for a recipe with a smaller batch"
        raise UnwellError(line, remedy)
    return line


def process_memory(found: dict[str, Any], device: str, devices: int) -> int:
    """Return the bytes that are free for one of a training's processes.

    Raises:
        UnwellError: torch sees fewer GPUs.
    """
    if device == "cpu":
        return available_memory() // devices
    names = [device] if devices == 1 else [f"{device}:{number}" for number in range(devices)]
    return min(device_memory(found, name) for name in names)


def device_memory(found: dict[str, Any], device: str) -> int:
    """Return the bytes that are free on a GPU, out of that process's words; `device` is cuda or cuda:N.

    Raises:
        UnwellError: torch sees no such GPU.
    """
    index, seen = int(device.partition(":")[2] or 0), found["devices"]
    if index >= len(seen):
        raise UnwellError(f"`device` is {device}, and torch sees {len(seen)} GPUs", "correct `device` in config.yaml")
    return int(seen[index]["free"])


def available_memory() -> int:
    """Return the bytes that a new process can have: what the kernel has free, within this container's limit."""
    text = _MEMORY.read_text(encoding="ascii")
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", text, re.MULTILINE)
    free = int(found[1]) << 10 if found else 0
    try:
        limit, used = _GROUP_LIMIT.read_text().strip(), int(_GROUP_USED.read_text())
    except (OSError, ValueError):
        return free
    return min(free, max(0, int(limit) - used)) if limit.isdigit() else free


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"
