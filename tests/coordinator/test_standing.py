"""What changes for a party that has joined: cosignatures, a new statement key, revocation."""

from dataclasses import replace
from pathlib import Path

import pytest
from coordinator.federation import Owner, World, shard_files

from severable_coordinator.errors import EngineError, NotFoundError, RefusedError
from severable_coordinator.standing import Standing
from severable_trust.envelope import Envelope
from severable_trust.errors import SignatureError, StatementError
from severable_trust.keys import PemSigner
from severable_trust.note import LogSigner, cosign, open_cosigned, sign_note
from severable_trust.rotation import KeyRotation
from severable_trust.statement import Kind, sign_statement


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "home")
    made.join("archive")
    made.join("clinic")
    return made


def rotation(world: World, name: str, upcoming: PemSigner, **changes: object) -> Envelope:
    owner = world.owners[name]
    usual = {"party": name, "previous": owner.signer.public_key, "next": upcoming.public_key, "issued": world.clock()}
    statement = KeyRotation(**(usual | changes))  # type: ignore[arg-type]  # the usual ones have the fields' types
    return sign_statement(statement, owner.signer, upcoming)


def test_a_cosigned_checkpoint_is_shown_with_every_partys_line(world: World) -> None:
    checkpoint, note = world.coordinator.log.checkpoint()
    for name in ("archive", "clinic"):
        world.standing.cosign(name, cosign(note, world.owners[name].witness, world.clock()))
    shown = world.coordinator.log.checkpoint_of(checkpoint.size)
    witnesses = [world.owners[name].witness.vkey for name in ("archive", "clinic")]
    opened = open_cosigned(shown, world.coordinator.trust_root.log_vkey, witnesses)
    assert opened.cosigners == tuple((vkey, world.clock()) for vkey in witnesses)


def test_a_second_cosignature_of_one_party_takes_the_place_of_the_first(world: World) -> None:
    checkpoint, note = world.coordinator.log.checkpoint()
    witness = world.owners["archive"].witness
    for _ in range(2):
        world.clock.advance(hours=1)
        world.standing.cosign("archive", cosign(note, witness, world.clock()))
    opened = open_cosigned(
        world.coordinator.log.checkpoint_of(checkpoint.size), world.coordinator.trust_root.log_vkey, [witness.vkey]
    )
    assert opened.cosigners == ((witness.vkey, world.clock()),)


def test_a_cosignature_counts_under_the_partys_own_key_and_over_this_logs_checkpoint_only(world: World) -> None:
    checkpoint, note = world.coordinator.log.checkpoint()
    own, others = world.owners["archive"].witness, world.owners["clinic"].witness
    with pytest.raises(RefusedError, match="not carry a cosignature by archive"):
        world.standing.cosign("archive", cosign(note, others, world.clock()))
    with pytest.raises(RefusedError, match="not carry a cosignature by archive"):
        world.standing.cosign("archive", note)
    forged = sign_note(note.partition("\n\n")[0] + "\n", LogSigner.generate("federation"))
    with pytest.raises(SignatureError, match="not signed by a known key"):
        world.standing.cosign("clinic", cosign(forged, own, world.clock()))
    other = replace(checkpoint, root=bytes(32)).text
    with pytest.raises(RefusedError, match="not the one that this log has"):
        world.standing.cosign("archive", cosign(sign_note(other, LogSigner.generate("x")), own, world.clock()))
    unheard = sign_note(replace(checkpoint, size=10**6).text, LogSigner.generate("x"))
    with pytest.raises(NotFoundError, match="no checkpoint over"):
        world.standing.cosign("archive", cosign(unheard, own, world.clock()))
    altered = cosign(note, own, world.clock())
    with pytest.raises(SignatureError, match="wrong"):
        world.standing.cosign("archive", altered.replace(f"\n{checkpoint.size}\n", f"\n{checkpoint.size + 1}\n"))
    assert world.coordinator.log.checkpoint_of(checkpoint.size) == note


def test_a_party_without_a_witness_key_cannot_cosign(world: World) -> None:
    record = world.coordinator.parties.party("archive")
    world.coordinator.parties.put_party(replace(record, witness=""))
    world.coordinator.logbook.issue_roster()
    note = cosign(world.coordinator.log.checkpoint()[1], world.owners["archive"].witness, world.clock())
    with pytest.raises(RefusedError, match="no witness key"):
        world.standing.cosign("archive", note)


def test_a_rotated_key_is_in_the_roster_and_the_rotation_in_the_log(world: World) -> None:
    upcoming, before = PemSigner.generate(), world.owners["archive"].signer.public_key
    world.standing.rotate("archive", rotation(world, "archive", upcoming))
    entry = world.coordinator.logbook.roster().value.party("archive")
    assert (entry.statement_key, entry.former_keys) == (upcoming.public_key, (before,))
    assert len(world.coordinator.log.statements(Kind.KEY_ROTATION)) == 1


def test_the_same_rotation_again_changes_nothing(world: World) -> None:
    envelope = rotation(world, "archive", PemSigner.generate())
    first = world.standing.rotate("archive", envelope)
    assert world.standing.rotate("archive", envelope).payload == first.payload
    assert len(world.coordinator.log.statements(Kind.KEY_ROTATION)) == 1


def test_contracts_and_shards_of_the_old_key_stay_and_nothing_new_is_taken_under_it(world: World) -> None:
    contract = world.agree("archive")
    upcoming = PemSigner.generate()
    world.standing.rotate("archive", rotation(world, "archive", upcoming))
    assert world.coordinator.contracting.prove(world.coordinator.contracts.contract(contract)).id == contract
    files = shard_files("archive")
    old = world.claim("archive", files)
    with pytest.raises(SignatureError, match="unknown key"):
        world.upload("archive", old, files)
    verdict = world.upload("archive", world.claim("archive", files, signer=upcoming), files)
    assert verdict.admitted, verdict.reason
    with pytest.raises(SignatureError, match="unknown key"):
        world.coordinator.requests.receive("archive", world.ask_for_erasure("archive", contract))


def test_a_contract_signed_by_both_keys_of_one_party_is_not_signed_by_both_sides(world: World) -> None:
    """Two signatures are not two sides: a party that has rotated holds two keys."""
    contract_id = world.agree("archive")
    record = world.coordinator.contracts.contract(contract_id)
    owner, upcoming = world.owners["archive"], PemSigner.generate()
    world.standing.rotate("archive", rotation(world, "archive", upcoming))
    honest = world.coordinator.contracting.prove(record).value
    selfmade = replace(honest, assignee=replace(honest.assignee, key_id=upcoming.public_key.key_id))
    forged = sign_statement(selfmade, owner.signer, upcoming)
    with pytest.raises(StatementError, match="exactly the two sides"):
        world.coordinator.contracting.prove(replace(record, envelope=forged.to_bytes()))


def test_a_rotation_needs_both_keys_the_right_party_and_a_key_that_nobody_had(world: World) -> None:
    owner, upcoming, taken = world.owners["archive"], PemSigner.generate(), world.owners["clinic"].signer
    usual = {"previous": owner.signer.public_key, "next": upcoming.public_key, "issued": world.clock()}
    half = sign_statement(KeyRotation(party="archive", **usual), upcoming)  # type: ignore[arg-type]  # as in rotation
    with pytest.raises(SignatureError, match="1 of the 2 keys"):
        world.standing.rotate("archive", half)
    with pytest.raises(StatementError, match="of party clinic"):
        world.standing.rotate("archive", rotation(world, "archive", upcoming, party="clinic"))
    other = Owner.make("archive").signer.public_key
    with pytest.raises(StatementError, match="not the roster's"):
        world.standing.rotate("archive", rotation(world, "archive", upcoming, previous=other))
    with pytest.raises(StatementError, match="is or was somebody's"):
        world.standing.rotate("archive", rotation(world, "archive", taken))
    with pytest.raises(SignatureError, match="unknown key"):
        world.standing.rotate("clinic", rotation(world, "archive", upcoming))
    assert world.coordinator.log.statements(Kind.KEY_ROTATION) == []


def test_a_former_key_does_not_come_back(world: World) -> None:
    owner, upcoming = world.owners["archive"], PemSigner.generate()
    world.standing.rotate("archive", rotation(world, "archive", upcoming))
    back = KeyRotation(
        party="archive", previous=upcoming.public_key, next=owner.signer.public_key, issued=world.clock()
    )
    with pytest.raises(StatementError, match="is or was somebody's"):
        world.standing.rotate("archive", sign_statement(back, owner.signer, upcoming))


def test_a_revoked_party_loses_its_node_and_cannot_rotate_or_cosign(world: World) -> None:
    assert set(world.nodes) == {"archive", "clinic"}
    note = world.coordinator.log.checkpoint()[1]
    world.standing.revoke("archive")
    assert set(world.nodes) == {"clinic"}
    with pytest.raises(StatementError, match="revoked"):
        world.standing.rotate("archive", rotation(world, "archive", PemSigner.generate()))
    with pytest.raises(StatementError, match="revoked"):
        world.standing.cosign("archive", cosign(note, world.owners["archive"].witness, world.clock()))


def test_a_revocation_stands_when_flower_does_not_answer_and_the_node_is_shut_out_later(world: World) -> None:
    def unreachable(node_key: str) -> None:
        raise EngineError(f"no answer about {node_key}")

    real = world.coordinator
    with pytest.raises(EngineError):
        Standing(parties=real.parties, logbook=real.logbook, unregister_node=unreachable).revoke("archive")
    with pytest.raises(StatementError, match="revoked"):
        real.logbook.roster().value.party("archive")
    assert set(world.nodes) == {"archive", "clinic"}
    world.standing.shut_out_revoked()
    assert set(world.nodes) == {"clinic"}
