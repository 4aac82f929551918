"""A worker that trains on a GPU: killed, begun again, at the gate and shipped. Skipped where torch finds no GPU."""

import json
import signal
import time
from pathlib import Path

import pytest
import torch
from client.exchange_service import Service
from client.samples import Federation, tiny_recipe
from client.worker_runs import checkpoint, keeping_home, queued, start, uninterrupted

from severable_client import torch_facts
from severable_client.placement import Placement

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")

RECIPE = tiny_recipe(max_steps=600, epochs=100_000, held_out=0.2, check_every=50, patience=100)
PATIENCE_S = 300.0


def test_a_killed_worker_on_a_gpu_is_taken_up_and_ships_the_bytes_of_one_that_ran_through(tmp_path: Path) -> None:
    federation, service = Federation.make(), Service()
    with keeping_home(federation, tmp_path, service, "cuda") as home:
        job = queued(home, federation, RECIPE)
        worker = start(home, job)
        until = time.monotonic() + PATIENCE_S
        while not checkpoint(home, job).exists() and worker.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        worker.send_signal(signal.SIGKILL)
        worker.communicate(timeout=PATIENCE_S)
        assert worker.returncode == -signal.SIGKILL
        told, complained = (second := start(home, job)).communicate(timeout=PATIENCE_S)
        assert second.returncode == 0, complained
        assert "goes on after step" in told
        assert service.held["model.safetensors"] == uninterrupted(home, job, RECIPE)
        manifest = json.loads(service.held["manifest.json"])
        assert manifest["execution"] == {"device": "cuda", "precision": Placement(device="cuda").word()}


def test_doctor_is_told_the_gpu_its_memory_and_how_a_training_would_compute(tmp_path: Path) -> None:
    told = torch_facts.facts(tmp_path, [], Placement(device="cuda"))
    assert told["cuda_build"]
    assert told["devices"][0]["name"] == torch.cuda.get_device_name(0)
    assert 0 < told["devices"][0]["free"] <= told["devices"][0]["total"]
    assert told["training"]["line"].startswith("one process of 1 CPU threads on cuda, in ")
    beyond = torch_facts.facts(tmp_path, [], Placement(device=f"cuda:{torch.cuda.device_count()}"))
    assert "torch finds no cuda:" in beyond["training"]["problem"]
