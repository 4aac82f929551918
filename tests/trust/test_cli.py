import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from trust.samples import Federation, make_manifest
from trust.shard_data import shard_files

from severable_trust.cli import main
from severable_trust.statement import sign_statement

FILES = {"model_index.json": b"{}", "router/model.safetensors": b"weights"}


@pytest.fixture
def site(federation: Federation, tmp_path: Path) -> Path:
    """What a stranger was given: a trust root, a roster, a receipt, a composite and a shard."""
    manifest = sign_statement(make_manifest(FILES), federation.keys.coordinator).to_bytes()
    written = {
        "root.json": federation.root.to_bytes(),
        "roster.json": federation.roster.envelope.to_bytes(),
        "receipt.json": federation.bundle().to_bytes(),
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


@pytest.mark.parametrize("words", [RECEIPT, COMPOSITE, SHARD])
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
    for words in ((), ("receipt",), ("receipt", "receipt.json"), ("other",), (*RECEIPT, "--format", "xml")):
        with pytest.raises(SystemExit) as caught:
            verify(site, *words)
        assert caught.value.code == 2


@pytest.mark.parametrize("command", ["receipt", "composite", "shard"])
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
