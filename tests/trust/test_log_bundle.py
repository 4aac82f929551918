from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust.log_samples import (
    ACKNOWLEDGEMENT,
    COMPOSITE,
    CONTRACT,
    RECEIPT,
    REQUEST,
    ROSTER,
    SHARD,
    WholeLog,
    held,
    logged,
    refused,
    roster_after,
    verified,
)
from trust.samples import NOON, at, make_roster

from severable_trust.canonical import decode, encode
from severable_trust.envelope import Envelope, Signature
from severable_trust.errors import LogError, MalformedError, SignatureError
from severable_trust.log_bundle import MAX_LOG_BUNDLE, LogBundle, Tally, verify_log_bundle
from severable_trust.merkle import root_of
from severable_trust.note import Checkpoint, KeyType, LogSigner, cosign, sign_note
from severable_trust.statement import Kind, sign_statement


def test_a_log_is_verified_and_says_what_it_holds(log: WholeLog) -> None:
    found = verified(log, log.bundle())
    assert found.checkpoint.size == 9
    assert found.cosigners == (("alice", at(18)),)
    assert found.roster.value.version == 2
    assert found.total == Tally(entries=9, verified=8, erased=1)
    tallies = dict(found.tallies)
    assert tallies[Kind.ROSTER] == Tally(entries=2, verified=2)
    assert tallies[Kind.SHARD] == Tally(entries=1, erased=1)
    assert found.unverifiable == ()


def test_a_bundle_survives_its_bytes(log: WholeLog) -> None:
    data = log.bundle().to_bytes()
    assert LogBundle.parse(data) == log.bundle()
    assert LogBundle.parse(data).to_bytes() == data
    assert encode(decode(data, "log bundle")) == data


@given(st.data())
def test_whichever_bodies_are_erased_the_log_still_verifies(log: WholeLog, data: st.DataObject) -> None:
    bundle = log.bundle()
    gone = data.draw(st.sets(st.integers(0, 8)))
    entries = tuple(
        replace(item, envelope=None) if place in gone else item for place, item in enumerate(bundle.entries)
    )
    altered = replace(bundle, entries=entries)
    assert LogBundle.parse(altered.to_bytes()) == altered
    found = verified(log, altered)
    assert (found.total.entries, found.total.erased) == (9, len(gone | {SHARD}))
    assert (found.total.verified, found.unverifiable) == (9 - found.total.erased, ())


@given(st.permutations(range(9)))
def test_entries_in_another_order_are_refused(log: WholeLog, order: list[int]) -> None:
    bundle = log.bundle()
    entries = tuple(bundle.entries[place] for place in order)
    if entries != bundle.entries:
        with pytest.raises(LogError):
            verified(log, replace(bundle, entries=entries))


@pytest.mark.parametrize("place", range(9))
def test_an_entry_left_out_is_refused(log: WholeLog, place: int) -> None:
    entries = log.entries[:place] + log.entries[place + 1 :]
    refused(log, replace(log.bundle(), entries=entries), LogError, "8 entries, its checkpoint is over 9|not the newest")


def test_an_entry_added_or_put_in_the_place_of_another_is_refused(log: WholeLog) -> None:
    bundle, late = log.bundle(), replace(log.federation.request.value, reason="another")
    other = logged(Kind.ERASURE_REQUEST, sign_statement(late, log.federation.keys.alice))
    added = (*bundle.entries[:3], other, *bundle.entries[3:])
    refused(log, replace(bundle, entries=added), LogError, "10 entries, its checkpoint is over 9")
    replaced = (*bundle.entries[:REQUEST], other, *bundle.entries[REQUEST + 1 :])
    refused(log, replace(bundle, entries=replaced), LogError, "do not lead to the root")


def test_a_checkpoint_with_another_size_or_root_is_refused(log: WholeLog) -> None:
    note = log.cosigned()
    refused(log, replace(log.bundle(), checkpoint=note.replace("\n9\n", "\n8\n")), SignatureError, "wrong")
    other = log.of(*log.entries[1:8])
    refused(log, replace(log.bundle(), checkpoint=other.checkpoint), LogError, "over 8")
    empty = sign_note(Checkpoint("log.example", 9, root_of([])).text, log.federation.keys.log)
    refused(log, replace(log.bundle(), checkpoint=empty), LogError, "do not lead to the root")


def test_a_checkpoint_by_another_log_key_is_refused(log: WholeLog) -> None:
    text = log.cosigned().split("\n\n")[0] + "\n"
    forged = cosign(sign_note(text, LogSigner.generate("log.example")), log.witness, NOON)
    refused(log, replace(log.bundle(), checkpoint=forged), SignatureError, "unknown key")
    elsewhere = log.cosigned().split("\n\n")[0].replace("log.example", "log.elsewhere") + "\n"
    signed = sign_note(elsewhere, log.federation.keys.log)
    refused(log, replace(log.bundle(), checkpoint=signed), LogError, "log.elsewhere")


def test_every_witness_of_the_trust_root_must_have_cosigned(log: WholeLog) -> None:
    data = log.bundle().to_bytes()
    demanding = replace(log.federation.root, witnesses=(log.witness.vkey,))
    assert verify_log_bundle(data, demanding).cosigners == (("alice", at(18)),)
    absent = LogSigner.generate("auditor", KeyType.COSIGNATURE)
    with pytest.raises(LogError, match="not signed by auditor"):
        verify_log_bundle(data, replace(demanding, witnesses=(log.witness.vkey, absent.vkey)))
    with pytest.raises(LogError, match="not signed by alice"):
        verify_log_bundle(replace(log.bundle(), checkpoint=log.note(log.entries)).to_bytes(), demanding)


def test_a_cosignature_by_a_key_that_the_roster_does_not_name_refuses_the_log(log: WholeLog) -> None:
    stranger = LogSigner.generate("mallory", KeyType.COSIGNATURE)
    note = cosign(log.cosigned(), stranger, NOON)
    refused(log, replace(log.bundle(), checkpoint=note), SignatureError, "unknown key")


def with_body(log: WholeLog, place: int, envelope: Envelope | None) -> LogBundle:
    """The usual log with another body at a place, its entry left as it was."""
    item = replace(log.entries[place], envelope=envelope)
    return replace(log.bundle(), entries=(*log.entries[:place], item, *log.entries[place + 1 :]))


def test_the_body_of_another_statement_is_refused(log: WholeLog) -> None:
    other = with_body(log, REQUEST, held(log.entries[ACKNOWLEDGEMENT]))
    refused(log, other, LogError, "body at entry 4 is of another statement")
    first, second = held(log.entries[COMPOSITE]), held(log.entries[RECEIPT])
    swapped = list(log.entries)
    swapped[COMPOSITE] = replace(swapped[COMPOSITE], envelope=second)
    swapped[RECEIPT] = replace(swapped[RECEIPT], envelope=first)
    refused(log, replace(log.bundle(), entries=tuple(swapped)), LogError, "entry 3 is of another statement")


def test_a_body_signed_by_other_keys_than_its_entry_says_is_refused(log: WholeLog) -> None:
    by_bob = sign_statement(log.federation.request.value, log.federation.keys.bob)
    refused(log, with_body(log, REQUEST, by_bob), LogError, "entry 4 is signed by other keys")
    both = held(log.entries[REQUEST]).countersigned(log.federation.keys.bob)
    refused(log, with_body(log, REQUEST, both), LogError, "entry 4 is signed by other keys")


def test_a_body_put_back_where_it_was_erased_is_verified_like_any_other(log: WholeLog) -> None:
    found = verified(log, with_body(log, SHARD, log.federation.claim.envelope))
    assert found.total == Tally(entries=9, verified=9)


def test_a_forged_signature_is_refused_though_the_log_signed_it(log: WholeLog) -> None:
    federation = log.federation
    for place, signer in ((REQUEST, federation.keys.bob), (CONTRACT, federation.keys.bob)):
        true = held(log.entries[place])
        alice = federation.keys.alice.public_key.key_id
        forged_value = sign_statement(federation.request.value, signer).signatures[0].value
        forged = replace(
            true,
            signatures=tuple(Signature(s.key_id, forged_value) if s.key_id == alice else s for s in true.signatures),
        )
        refused(log, with_body(log, place, forged), SignatureError, "is wrong")


def test_a_statement_logged_twice_is_refused(log: WholeLog) -> None:
    again = log.entries[REQUEST]
    refused(log, log.of(again, log.entries[CONTRACT], again), LogError, "entries 0 and 2 are both of statement")
    gone = replace(again, envelope=None)
    refused(log, log.of(again, gone), LogError, "entries 0 and 1 are both of statement")


def test_a_roster_that_goes_back_or_stays_at_its_version_is_refused(log: WholeLog) -> None:
    for version in (2, 3):
        newer = sign_statement(
            replace(make_roster(log.federation.keys), version=version), log.federation.keys.coordinator
        )
        refused(log, log.of(logged(Kind.ROSTER, newer)), LogError, f"roster version 2 at entry 1 comes after {version}")


def test_another_roster_than_the_newest_is_refused(log: WholeLog) -> None:
    first = replace(log.bundle(), roster=held(log.entries[ROSTER]), checkpoint=log.note(log.entries))
    refused(log, first, LogError, "is not the newest one in the log")
    unlogged = sign_statement(
        replace(roster_after(log.federation, log.next_key, log.witness), version=3), log.federation.keys.coordinator
    )
    refused(log, replace(log.bundle(), roster=unlogged), LogError, "is not the newest one in the log")
    forged = sign_statement(roster_after(log.federation, log.next_key, log.witness), log.federation.keys.alice)
    refused(log, replace(log.bundle(), roster=forged), SignatureError, "unknown key")


def test_a_log_without_a_roster_is_refused(log: WholeLog) -> None:
    only = (log.entries[CONTRACT],)
    refused(log, LogBundle(checkpoint=log.note(only), roster=log.newest, entries=only), LogError, "newest")


@pytest.mark.parametrize("member", ["checkpoint", "entries", "format", "roster"])
def test_a_bundle_without_one_of_its_members_is_refused(log: WholeLog, member: str) -> None:
    value = decode(log.bundle().to_bytes(), "bundle")
    assert isinstance(value, dict)
    for altered in ({name: value[name] for name in value if name != member}, {**value, member: 1}, {**value, "a": 1}):
        with pytest.raises(MalformedError):
            LogBundle.parse(encode(altered))


def test_an_entry_of_another_form_is_refused(log: WholeLog) -> None:
    value = decode(log.bundle().to_bytes(), "bundle")
    assert isinstance(value, dict)
    usual = value["entries"][1]
    for entry in (
        None,
        {name: usual[name] for name in ("kind", "signers", "statement")},
        {**usual, "note": ""},
        {**usual, "kind": "other"},
        {**usual, "signers": []},
        {**usual, "envelope": False},
    ):
        with pytest.raises(MalformedError):
            LogBundle.parse(encode({**value, "entries": [entry]}))


def test_a_second_spelling_of_a_bundle_is_refused(log: WholeLog) -> None:
    data = log.bundle().to_bytes()
    assert b"\xe2\x80\x94" in data
    for altered in (
        data + b"\n",
        data.replace(b":", b": ", 1),
        data.replace(b"\xe2\x80\x94", b"\\u2014"),
        data.replace(b'"kind":"roster"', b'"kind":"roster","kind":"roster"', 1),
        data.replace(b"severable-log/v1", b"severable-log/v2"),
    ):
        with pytest.raises(MalformedError):
            LogBundle.parse(altered)


def test_a_file_too_large_to_be_a_log_is_refused_unread() -> None:
    with pytest.raises(MalformedError, match="at most"):
        LogBundle.parse(bytes(MAX_LOG_BUNDLE + 1))


def test_a_log_too_large_to_be_read_back_is_not_written(log: WholeLog, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(log.bundle().to_bytes())
    monkeypatch.setattr("severable_trust.log_bundle.MAX_LOG_BUNDLE", size)
    assert LogBundle.parse(log.bundle().to_bytes()) == log.bundle()
    monkeypatch.setattr("severable_trust.log_bundle.MAX_LOG_BUNDLE", size - 1)
    with pytest.raises(MalformedError, match="at most"):
        log.bundle().to_bytes()
