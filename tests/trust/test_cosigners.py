"""How many parties must have cosigned is the verifier's to say, on the command line."""

from dataclasses import replace
from pathlib import Path

import pytest
from trust.samples import NOON, Federation

from severable_trust.cli import main
from severable_trust.note import KeyType, LogSigner, cosign
from severable_trust.statement import sign_statement


@pytest.fixture
def words(federation: Federation, tmp_path: Path) -> list[str]:
    """A receipt under a checkpoint that alice alone cosigned."""
    witness = LogSigner.generate("alice", KeyType.COSIGNATURE)
    alice, bob = federation.roster.value.parties
    roster = replace(federation.roster.value, parties=(replace(alice, witness=witness.vkey), bob))
    note = cosign(federation.proof().checkpoint, witness, NOON)
    bundle = replace(
        federation.bundle(),
        roster=sign_statement(roster, federation.keys.coordinator),
        proof=replace(federation.proof(), checkpoint=note),
    )
    (tmp_path / "receipt.json").write_bytes(bundle.to_bytes())
    (tmp_path / "root.json").write_bytes(federation.root.to_bytes())
    return ["receipt", str(tmp_path / "receipt.json"), "--trust-root", str(tmp_path / "root.json")]


def test_a_receipt_that_enough_parties_cosigned_is_verified_and_names_them(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for enough in ("0", "1"):
        assert main([*words, "--cosigners", enough]) == 0
        assert "cosigned by: alice at 2026-06-01T12:00:00Z" in capsys.readouterr().out


def test_a_receipt_that_fewer_cosigned_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--cosigners", "2"]) == 1
    shown = capsys.readouterr()
    assert shown.err == "refused: checkpoint: cosigned by 1 of the 2 parties that are asked for\n"
    assert not shown.out
