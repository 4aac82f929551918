import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from trust.log_samples import WholeLog, logged
from trust.samples import Federation, make_contract, make_manifest
from trust.shard_data import shard_files

from severable_trust.cli import main
from severable_trust.contract import describe
from severable_trust.keys import PemSigner
from severable_trust.statement import Kind, sign_statement

FILES = {"model_index.json": b"{}", "router/model.safetensors": b"weights"}


@pytest.fixture
def site(federation: Federation, log: WholeLog, tmp_path: Path) -> Path:
    """What a stranger was given: a trust root, a roster, a receipt, a contract, a log, a composite and a shard."""
    manifest = sign_statement(make_manifest(FILES), federation.keys.coordinator).to_bytes()
    written = {
        "root.json": federation.root.to_bytes(),
        "roster.json": federation.roster.envelope.to_bytes(),
        "receipt.json": federation.bundle().to_bytes(),
        "contract.json": federation.contract.envelope.to_bytes(),
        "log.json": log.bundle().to_bytes(),
        "composite/composite.dsse.json": manifest,
        **{f"composite/{name}": data for name, data in FILES.items()},
        "shard/claim.dsse.json": federation.claim.envelope.to_bytes(),
        **{f"shard/{name}": data for name, data in shard_files().items()},
    }
    for name, data in written.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path


def verify(site: Path, *words: str) -> int:
    return main([*(str(site / word) if "/" in word or "." in word else word for word in words)])


RECEIPT = ("receipt", "receipt.json", "--trust-root", "root.json")
CONTRACT = ("contract", "contract.json", "--trust-root", "root.json", "--roster", "roster.json")
LOG = ("log", "log.json", "--trust-root", "root.json")
COMPOSITE = ("composite", "composite/", "--trust-root", "root.json")
SHARD = ("shard", "shard/", "--trust-root", "root.json", "--roster", "roster.json")


def test_a_receipt_is_shown_in_words(site: Path, federation: Federation, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(site, *RECEIPT) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    change = federation.receipt.value.composites[0]
    for words in (
        "verified: receipt",
        "party: alice",
        "contract: contract-alice version 1",
        f"shards erased:\n  - {federation.claim.id}",
        f"public: {change.before} -> {change.after} (rebuilt)",
        "check the key no longer opens the shard, result holds",
        "what backups, why unreadable without the key, until 2026-07-01",
        "index: 2",
        "tree size: 4",
    ):
        assert words in shown.out


def test_a_contract_is_shown_with_its_terms_in_plain_sentences(
    site: Path, federation: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(site, *CONTRACT) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"verified: contract\nstatement: {federation.contract.id}\n")
    assert f"alice: key {federation.keys.alice.public_key.key_id}" in shown
    assert "party now: active in roster version 1" in shown
    for sentence in describe(federation.contract.value).split("\n"):
        assert f"  - {sentence}\n" in f"{shown}\n"


def test_a_contract_that_is_not_signed_by_exactly_its_two_sides_is_refused(
    site: Path, federation: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, usual = federation.keys, federation.contract.value
    other = replace(usual, assignee=replace(usual.assignee, id="other"))
    for envelope, why in (
        (sign_statement(usual, keys.coordinator), "1 of the 2"),
        (sign_statement(usual, keys.bob, keys.coordinator), "unknown key"),
        (sign_statement(other, keys.alice, keys.coordinator), "assignee is other, not hub"),
        (sign_statement(replace(usual, assigner=replace(usual.assigner, id="eve")), keys.bob), "no party 'eve'"),
        (federation.receipt.envelope, "predicate type"),
    ):
        (site / "contract.json").write_bytes(envelope.to_bytes())
        refused(site, CONTRACT, why, capsys)


def test_a_contract_is_refused_under_a_roster_of_somebody_else(
    site: Path, federation: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "roster.json").write_bytes(sign_statement(federation.roster.value, federation.keys.bob).to_bytes())
    refused(site, CONTRACT, "unknown key", capsys)


def test_a_log_is_shown_with_what_it_holds_of_each_kind(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(site, *LOG) == 0
    shown = capsys.readouterr().out
    for words in (
        "verified: log\norigin: log.example\nentries: 9\n",
        "cosigned by:\n  alice: 2026-06-01T18:00:00Z",
        "roster: version 2, 2 parties",
        "statements verified: 8\nstatements unverifiable: 0\nbodies erased: 1\n",
        "  - kind shard, entries 1, verified 0, unverifiable 0, erased 1\n",
        "  - kind roster, entries 2, verified 2, unverifiable 0, erased 0\n",
        "unverifiable entries: none",
    ):
        assert words in shown


def test_what_of_a_log_could_not_be_verified_is_said(
    site: Path, log: WholeLog, capsys: pytest.CaptureFixture[str]
) -> None:
    peer, usual = PemSigner.generate(), make_contract(log.federation.keys)
    theirs = replace(usual, assignee=replace(usual.assignee, id="peer", key_id=peer.public_key.key_id))
    envelope = sign_statement(theirs, log.federation.keys.alice, peer)
    (site / "log.json").write_bytes(log.of(logged(Kind.CONTRACT, envelope)).to_bytes())
    assert verify(site, *LOG) == 0
    assert "cosigned by: none\n" in capsys.readouterr().out
    assert verify(site, *LOG, "--format", "json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["statements_verified"], report["statements_unverifiable"]) == (1, 1)
    assert report["unverifiable_entries"] == [0]


def test_a_log_with_an_entry_left_out_is_refused_in_one_line(
    site: Path, log: WholeLog, capsys: pytest.CaptureFixture[str]
) -> None:
    short = replace(log.bundle(), entries=log.entries[1:])
    (site / "log.json").write_bytes(short.to_bytes())
    refused(site, LOG, "8 entries, its checkpoint is over 9", capsys)


@pytest.mark.parametrize("words", [RECEIPT, CONTRACT, COMPOSITE, SHARD])
def test_json_says_what_was_verified(site: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(site, *words, "--format", "json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verified"] == words[0]
    assert report["statement"].startswith("sha256:")


@pytest.mark.parametrize("words", [COMPOSITE, SHARD])
def test_a_directory_is_shown_in_words(site: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(site, *words) == 0
    assert capsys.readouterr().out.startswith(f"verified: {words[0]}\n")


def refused(site: Path, words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(site, *words) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("refused: ")
    assert shown.err.count("\n") == 1
    assert why in shown.err


def test_a_receipt_with_one_byte_changed_is_refused_in_one_line(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = site / "receipt.json"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused(site, RECEIPT, "", capsys)


def test_a_receipt_too_large_to_be_one_is_refused(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "receipt.json").write_bytes(b" " * ((8 << 20) + 1))
    refused(site, RECEIPT, "longer than", capsys)


@pytest.mark.parametrize(("words", "folder"), [(COMPOSITE, "composite"), (SHARD, "shard")])
def test_a_directory_that_was_touched_is_refused(
    site: Path, words: tuple[str, ...], folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = site / folder / ".git" / "config"
    extra.parent.mkdir()
    extra.write_bytes(b"")
    refused(site, words, "'.git/config' is in the directory", capsys)
    extra.unlink()
    hidden = site / folder / "sub" / words[2].removeprefix("--")
    hidden.parent.mkdir()
    hidden.write_bytes(b"")
    refused(site, words, "not in the signed list", capsys)


def test_a_second_manifest_further_down_is_not_overlooked(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "composite" / "router" / "composite.dsse.json").write_bytes(b"{}")
    refused(site, COMPOSITE, "router/composite.dsse.json", capsys)


def test_a_link_is_refused_even_to_the_right_bytes(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = site / "composite" / "model_index.json"
    index.rename(site / "elsewhere.json")
    index.symlink_to(site / "elsewhere.json")
    refused(site, COMPOSITE, "link", capsys)
    index.unlink()
    (site / "elsewhere.json").rename(index)
    (site / "composite" / "router").rename(site / "router")
    (site / "composite" / "router").symlink_to(site / "router")
    refused(site, COMPOSITE, "link", capsys)


def test_a_pipe_is_refused_without_waiting_on_it(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(site / "shard" / "pipe")
    refused(site, SHARD, "special file", capsys)


@pytest.mark.parametrize("missing", ["receipt.json", "root.json"])
def test_a_file_that_is_not_there_is_named(site: Path, missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    (site / missing).unlink()
    assert verify(site, *RECEIPT) == 2
    shown = capsys.readouterr()
    assert (site / missing).as_posix() in shown.err
    assert shown.err.count("\n") == 1


def test_a_directory_in_the_place_of_a_file_is_no_crash(site: Path) -> None:
    assert verify(site, "receipt", "shard/", "--trust-root", "root.json") == 2
    assert verify(site, "composite", "receipt.json", "--trust-root", "root.json") == 2


def test_wrong_usage_ends_with_two(site: Path) -> None:
    for words in (
        (),
        ("log",),
        ("contract", "contract.json", "--trust-root", "root.json"),
        ("receipt",),
        ("receipt", "receipt.json"),
        ("other",),
        (*RECEIPT, "--format", "xml"),
    ):
        with pytest.raises(SystemExit) as caught:
            verify(site, *words)
        assert caught.value.code == 2


@pytest.mark.parametrize("command", ["receipt", "contract", "composite", "shard", "log"])
def test_help_gives_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"severable-verify {command}" in " ".join(capsys.readouterr().out.split("Example:")[1].split())


def test_the_program_runs_in_a_process_of_its_own(site: Path) -> None:
    command = [sys.executable, "-I", "-m", "severable_trust.cli", *RECEIPT]
    done = subprocess.run(command, cwd=site, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("verified: receipt\n")
