"""A contract as both of its sides signed it: the one place that says whose signatures make a contract.

Counting two good signatures is not enough: a party that has rotated its key holds two keys of its own.
"""

from collections.abc import Sequence

from severable_trust.contract import Contract
from severable_trust.envelope import Envelope
from severable_trust.errors import StatementError
from severable_trust.keys import PublicKey
from severable_trust.statement import Proven, open_statement


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


def _ids(keys: Sequence[PublicKey]) -> set[str]:
    return {key.key_id for key in keys}
