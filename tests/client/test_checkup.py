"""Doctor's checks against real ports, real TLS and real files: each finding, its remedy and its number."""

import json
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from client.fleet_service import fleet_port
from client.samples import RECIPE, RECIPE_BYTES, Authority, Federation, item, make_home, tiny_recipe
from client.worker_runs import in_force

from severable_client import torch_facts
from severable_client.adapters import checkup, machine, reachability
from severable_client.adapters.config import Precision, write_config
from severable_client.adapters.keys import read_signer
from severable_client.adapters.unwell import UnwellError
from severable_client.bootstrap import Home, now, open_home
from severable_client.contracts import receive
from severable_client.memory_need import MemoryNeed, kept_bytes, memory_need
from severable_client.training import read_recipe
from severable_diffusion import network
from severable_trust.contract import ContractState
from severable_trust.statement import sign_statement


@pytest.fixture
def home(federation: Federation, tmp_path: Path) -> Home:
    return open_home(make_home(federation, tmp_path))


@pytest.fixture
def fleet(federation: Federation) -> Iterator[str]:
    with fleet_port(federation.authority) as address:
        yield address


def test_every_check_has_a_number_of_its_own_and_a_remedy() -> None:
    checks = checkup._checks()
    assert [code for _, code, _, _ in checks] == list(range(10, 21))
    assert all(remedy for _, _, _, remedy in checks)


def found(home: Home, code: int) -> checkup.Finding:
    """What one check finds."""
    (one,) = [check for check in checkup._checks() if check[1] == code]
    return checkup._finding(*one, home)


def test_a_whole_home_is_well(home: Home) -> None:
    findings = [found(home, code) for code in (10, 11, 12, 13, 14, 15, 16, 20)]
    assert [finding.line for finding in findings if not finding.well] == []


def test_a_missing_folder_is_named(home: Home) -> None:
    home.layout.removals.rmdir()
    finding = found(home, 10)
    assert not finding.well
    assert "removals missing" in finding.line
    assert "restore it" in finding.remedy


def test_a_journal_that_was_cut_off_is_found(home: Home) -> None:
    home.layout.journal.write_bytes(b"")
    finding = found(home, 12)
    assert not finding.well
    assert "cut off" in finding.line
    assert "journal restore" in finding.remedy


@pytest.mark.parametrize(
    ("state", "well", "says"),
    [
        (ContractState.ACTIVE, True, "1 in force"),
        (ContractState.SUSPENDED, False, "none in force (suspended"),
        (ContractState.EXPIRED, False, "none in force (expired"),
    ],
)
def test_the_contracts_state_is_told(
    home: Home, federation: Federation, state: ContractState, well: bool, says: str
) -> None:
    contract = federation.contract(owner=home.sides.own, begins=now())
    signed = sign_statement(contract, federation.coordinator).countersigned(read_signer(home.layout))
    kept = receive(item(signed, "active", RECIPE_BYTES), home.holdings)
    home.contracts.put(replace(kept, state=state))
    finding = found(home, 14)
    assert (finding.well, says in finding.line) == (well, True)


def test_a_port_that_answers_over_tls_is_well(home: Home, fleet: str) -> None:
    assert "answers over TLS" in reachability.shake_hands(fleet, home.layout)


def test_nobody_at_a_port_is_told_from_a_wrong_name_and_from_silence(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnwellError, match="nobody listens") as refused:
        reachability.shake_hands("127.0.0.1:9", home.layout)
    assert "is the coordinator up" in refused.value.remedy
    with pytest.raises(UnwellError, match="the name is not known"):
        reachability.shake_hands("no-such-name.invalid:1", home.layout)
    with pytest.raises(UnwellError, match="not host:port"):
        reachability.shake_hands("nothing", home.layout)
    monkeypatch.setattr(reachability, "TIMEOUT_S", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(UnwellError, match="no answer") as silence:
            reachability.shake_hands(f"127.0.0.1:{silent.getsockname()[1]}", home.layout)
    assert "firewall" in silence.value.remedy


def test_another_authoritys_certificate_is_not_vouched_for(home: Home) -> None:
    with fleet_port(Authority.make()) as address, pytest.raises(UnwellError, match="not vouched for") as stranger:
        reachability.shake_hands(address, home.layout)
    assert "in between" in stranger.value.remedy


def test_a_clock_that_is_right_is_well(home: Home, fleet: str) -> None:
    assert "give or take" in reachability.check_clock(fleet, home.layout)


@pytest.mark.parametrize(("off_s", "side"), [(-60.0, "ahead of"), (3600.0, "behind")])
def test_a_clock_that_messages_would_be_refused_by_is_found(
    home: Home, federation: Federation, off_s: float, side: str
) -> None:
    with (
        fleet_port(federation.authority, clock_off_s=off_s) as address,
        pytest.raises(UnwellError, match=side) as wrong,
    ):
        reachability.check_clock(address, home.layout)
    assert "chrony" in wrong.value.remedy


def test_a_clock_two_minutes_late_is_told_and_well(home: Home, federation: Federation) -> None:
    with fleet_port(federation.authority, clock_off_s=120.0) as address:
        assert "behind" in reachability.check_clock(address, home.layout)


GPU = [{"name": "H100", "free": 70 << 30, "total": 80 << 30}]


@pytest.mark.parametrize(
    ("cuda", "devices", "driver", "says"),
    [
        (None, [], "", "no NVIDIA driver is here"),
        (None, [], "550.54", "is here and not used"),
        ("12.8", [], "", "no NVIDIA driver is here"),
        ("12.8", GPU, "550.54", "H100 (70 GiB free)"),
    ],
)
def test_torch_is_held_against_the_driver(
    cuda: str | None, devices: list[dict[str, object]], driver: str, says: str
) -> None:
    assert says in machine.torch_against_driver({"torch": "2", "cuda_build": cuda, "devices": devices}, driver)


def test_a_driver_that_is_too_old_for_torch_is_found() -> None:
    with pytest.raises(UnwellError, match="sees no GPU") as unfit:
        machine.torch_against_driver({"torch": "2", "cuda_build": "12.8", "devices": []}, "450.1")
    assert "CUDA 12.8" in unfit.value.remedy


def test_a_recipe_that_does_not_fit_into_memory_is_found() -> None:
    need = {"name": "big", "weights": 1, "gradients": 1, "optimizer": 1, "activations": 1 << 40, "total": 1 << 40}
    assert "'big' takes" in machine.memory_for(need, 1 << 41)
    with pytest.raises(UnwellError, match="are free") as large:
        machine.memory_for(need, 1 << 30)
    assert "smaller batch" in large.value.remedy
    with pytest.raises(UnwellError, match="cannot be followed"):
        machine.memory_for({"problem": "the recipe cannot be followed"}, 1)


def test_free_memory_is_told() -> None:
    assert machine.available_memory() > 1 << 20


def test_memory_is_counted_on_the_meta_device_as_a_real_forward_pass_keeps_it() -> None:
    recipe = read_recipe(RECIPE_BYTES)
    need = memory_need(recipe)
    denoiser = network.build_seeded(recipe, 1).train()
    numbers = sum(parameter.numel() for parameter in denoiser.parameters())
    assert (need.weights, need.gradients, need.optimizer) == (8 * numbers, 4 * numbers, 8 * numbers)
    assert need.images == 8 * 64 * 4
    assert need.activations == pytest.approx(kept_bytes(denoiser, recipe, 8, "cpu"), rel=0.05)
    parts = (need.weights, need.gradients, need.optimizer, need.activations, need.images, need.runtime)
    assert need.total == sum(parts)


def test_activations_grow_with_the_batch_and_shrink_with_its_parts() -> None:
    def activations(batch: int, accumulate: int = 1) -> int:
        need: MemoryNeed = memory_need(read_recipe(tiny_recipe(batch=batch)), accumulate)
        return need.activations

    assert activations(64) == pytest.approx(8 * activations(8), rel=0.05)
    assert activations(64, accumulate=8) == activations(8)


def test_a_gpu_that_is_not_there_is_named_and_one_that_is_has_its_own_memory() -> None:
    found = {"devices": [{"name": "a", "free": 5, "total": 9}]}
    assert machine.device_memory(found, "cuda") == machine.device_memory(found, "cuda:0") == 5
    with pytest.raises(UnwellError, match="torch sees 1 GPUs"):
        machine.device_memory(found, "cuda:1")


def test_each_process_of_a_training_has_the_memory_of_its_own_gpu_or_its_part_of_the_machines() -> None:
    found = {"devices": [{"name": "a", "free": 5, "total": 9}, {"name": "b", "free": 4, "total": 9}]}
    assert machine.process_memory(found, "cuda", 2) == 4
    with pytest.raises(UnwellError, match="`device` is cuda:2, and torch sees 2 GPUs"):
        machine.process_memory(found, "cuda", 3)
    assert machine.process_memory(found, "cpu", 4) == pytest.approx(machine.available_memory() // 4, rel=0.2)


def facts(home: Home, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What doctor's process says; it is run as one in test_cli.py."""
    assert torch_facts.main(["--home", str(home.layout.root)]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_look_at_the_images_counts_them_or_names_what_is_wrong(
    home: Home, federation: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    in_force(home, federation)
    asked = ["--home", str(home.layout.root), "--recipe", str(RECIPE)]
    assert torch_facts.main(asked) == 0
    assert "16 images" in json.loads(capsys.readouterr().out.splitlines()[1])["line"]
    (Path(home.config.data) / "notes.txt").write_text("no image")
    assert torch_facts.main(asked) == 0
    assert "notes.txt" in json.loads(capsys.readouterr().out.splitlines()[1])["problem"]


@pytest.mark.parametrize(
    ("program", "timeout_s", "said", "trouble"),
    [
        ("print('one'); print('two')", 60.0, ["one", "two"], ""),
        ("print('one'); raise SystemExit('no torch')", 60.0, ["one"], "no torch"),
        ("raise SystemExit(3)", 60.0, [], "exit code 3"),
        (
            "import time; print('one', flush=True); print('tw', end='', flush=True); time.sleep(60)",
            2.0,
            ["one"],
            "after 2 s it was not over",
        ),
    ],
)
def test_what_the_process_with_torch_said_counts_also_where_it_did_not_end_well(
    program: str, timeout_s: float, said: list[str], trouble: str
) -> None:
    assert machine._said_by([sys.executable, "-c", program], timeout_s) == (said, trouble)


def test_images_that_nothing_was_said_of_are_a_finding_and_the_rest_is_told(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        machine, "_said_by", lambda _command, _timeout_s: (['{"torch": "2"}'], "after 9 s it was not over")
    )
    found = machine.torch_facts(home.layout.root, ["sha256:a"])
    assert found["torch"] == "2"
    assert found["images"] == {
        "sha256:a": {"problem": "the images could not be looked through: after 9 s it was not over"}
    }


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "one process of 1 CPU threads on cpu, in float32 (`precision` is auto)"),
        (
            {"devices": 2, "precision": Precision.BF16},
            "2 processes of 1 CPU threads on cpu, in bf16 (`precision` is bf16)",
        ),
    ],
)
def test_doctor_says_how_a_training_would_compute(
    home: Home, config: dict[str, Any], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(home.layout.config, replace(home.config, **config))
    assert machine.training_on(facts(home, capsys)) == says


def test_doctor_names_a_gpu_that_is_not_there(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    write_config(home.layout.config, replace(home.config, device="cuda", devices=64))
    with pytest.raises(UnwellError, match="torch finds no cuda:") as missing:
        machine.training_on(facts(home, capsys))
    assert "`devices`" in missing.value.remedy
