from dataclasses import replace

import pytest
from trust.samples import Federation, make_manifest, make_roster, prove
from trust.shard_data import shard_files

from severable_trust.bundle import verify_composite, verify_shard
from severable_trust.digest import Digest
from severable_trust.errors import SignatureError, StatementError
from severable_trust.roster import PartyStatus
from severable_trust.statement import sign_statement

FILES = {"model_index.json": b"{}", "router/model.safetensors": b"weights"}


def listing(files: dict[str, bytes]) -> dict[str, tuple[int, Digest]]:
    return {name: (len(data), Digest.of(data)) for name, data in files.items()}


def test_a_composite_with_exactly_its_files_is_verified(federation: Federation) -> None:
    manifest = sign_statement(make_manifest(FILES), federation.keys.coordinator).to_bytes()
    assert verify_composite(manifest, listing(FILES), federation.root).value == make_manifest(FILES)


def test_a_composite_with_a_file_missing_added_or_altered_is_refused(federation: Federation) -> None:
    manifest = sign_statement(make_manifest(FILES), federation.keys.coordinator).to_bytes()
    for files, why in (
        ({"model_index.json": b"{}"}, "missing"),
        ({**FILES, "pipeline.py": b""}, "not in the signed list"),
        ({**FILES, "model_index.json": b"[]"}, "not the one that was signed"),
        ({**FILES, "model_index.json": b"{} "}, "not the one that was signed"),
    ):
        with pytest.raises(StatementError, match=why):
            verify_composite(manifest, listing(files), federation.root)


def test_a_composite_that_a_party_signed_is_refused(federation: Federation) -> None:
    manifest = sign_statement(make_manifest(FILES), federation.keys.alice).to_bytes()
    with pytest.raises(SignatureError):
        verify_composite(manifest, listing(FILES), federation.root)


def test_a_shard_with_exactly_its_files_is_verified(federation: Federation) -> None:
    claim, roster = federation.claim.envelope.to_bytes(), federation.roster.envelope.to_bytes()
    assert verify_shard(claim, roster, listing(shard_files()), federation.root) == federation.claim


def test_a_shard_with_a_further_or_altered_file_is_refused(federation: Federation) -> None:
    claim, roster = federation.claim.envelope.to_bytes(), federation.roster.envelope.to_bytes()
    for files in ({**shard_files(), "extra": b""}, {**shard_files(), "config.json": b"{}"}):
        with pytest.raises(StatementError):
            verify_shard(claim, roster, listing(files), federation.root)


def test_a_shard_signed_by_another_party_is_refused(federation: Federation) -> None:
    claim = sign_statement(federation.claim.value, federation.keys.bob).to_bytes()
    with pytest.raises(SignatureError):
        verify_shard(claim, federation.roster.envelope.to_bytes(), listing(shard_files()), federation.root)


def test_a_shard_of_a_revoked_party_is_refused(federation: Federation) -> None:
    roster = prove(make_roster(federation.keys, PartyStatus.REVOKED), federation.keys.coordinator)
    with pytest.raises(StatementError, match="revoked"):
        verify_shard(
            federation.claim.envelope.to_bytes(),
            roster.envelope.to_bytes(),
            listing(shard_files()),
            federation.root,
        )


def test_a_roster_that_names_another_coordinator_key_is_refused(federation: Federation) -> None:
    usual = make_roster(federation.keys)
    _, bob = usual.parties
    swapped = replace(usual, coordinator_key=bob.statement_key, parties=usual.parties[:1])
    roster = sign_statement(swapped, federation.keys.coordinator).to_bytes()
    with pytest.raises(SignatureError, match="another coordinator key"):
        verify_shard(federation.claim.envelope.to_bytes(), roster, listing(shard_files()), federation.root)
