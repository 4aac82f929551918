"""A contract as both of its sides signed it: the one place that says whose signatures make a contract.

Counting two good signatures is not enough: a party that has rotated its key holds two keys of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from severable_trust.contract import Contract
from severable_trust.envelope import Envelope
from severable_trust.errors import StatementError
from severable_trust.keys import PublicKey
from severable_trust.roster import Roster, RosterParty
from severable_trust.statement import Proven, open_statement, read_unverified
from severable_trust.trust_root import TrustRoot, open_roster


def open_agreement(
    data: bytes | Envelope, party_keys: Sequence[PublicKey], coordinator_keys: Sequence[PublicKey]
) -> Proven[Contract]:
    """The contract in an envelope that exactly the two sides signed which it names.

    Args:
        data: an envelope or its bytes.
        party_keys: the party's statement keys, the present one and those before it.
        coordinator_keys: the statement keys of the coordinators whose contracts count.

    Raises:
        MalformedError: not an envelope, or the payload is not canonical JSON.
        SignatureError: a signature is wrong, missing, or by a key of neither side.
        StatementError: not a contract, or it names other keys than those that signed.
    """
    proven = open_statement(data, Contract, [*party_keys, *coordinator_keys], threshold=2)
    assigner, assignee = proven.value.assigner.key_id, proven.value.assignee.key_id
    named = assigner in _ids(party_keys) and assignee in _ids(coordinator_keys)
    if not named or list(proven.signers) != sorted((assigner, assignee)):
        raise StatementError(f"contract {proven.id}: not signed by exactly the two sides that it names")
    return proven


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedContract:
    """A contract that both of its sides signed. Only `verify_contract` makes one.

    Attributes:
        contract: what was agreed.
        roster: whose the keys are.
    """

    contract: Proven[Contract]
    roster: Proven[Roster]

    @property
    def party(self) -> RosterParty:
        """The party's entry in the roster; it may be revoked since."""
        return self.roster.value.find(self.contract.value.assigner.id)


def verify_contract(envelope: bytes, roster: bytes, root: TrustRoot) -> VerifiedContract:
    """The contract that a party of this roster and the coordinator of the trust root both signed.

    Nobody's clock is read: whether it is in term is for the reader. A key revoked or replaced since was the party's.

    Raises:
        TrustError: the roster is not the coordinator's, or the contract not signed by exactly the two sides it names.
    """
    parties = open_roster(roster, root)
    party = parties.value.find(read_unverified(envelope, Contract).assigner.id)
    contract = open_agreement(envelope, party.keys, [root.coordinator_key])
    if contract.value.assignee.id != root.coordinator_id:
        raise StatementError(f"contract: assignee is {contract.value.assignee.id}, not {root.coordinator_id}")
    return VerifiedContract(contract=contract, roster=parties)


def _ids(keys: Sequence[PublicKey]) -> set[str]:
    return {key.key_id for key in keys}
