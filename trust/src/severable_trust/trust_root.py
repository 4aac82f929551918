"""The trust root: the few public facts that an offline verifier is given beforehand, over a channel it trusts."""

from dataclasses import dataclass
from typing import Self

from severable_trust.canonical import decode, encode
from severable_trust.envelope import Envelope
from severable_trust.errors import MalformedError, SignatureError, StatementError
from severable_trust.keys import PublicKey
from severable_trust.note import KeyType, LogKey
from severable_trust.record import from_plain, to_plain
from severable_trust.roster import Roster
from severable_trust.statement import Proven, open_statement
from severable_trust.terms import check_id, require_unique

TRUST_ROOT_FORMAT = "severable-trust-root/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRoot:
    """Whose signature counts as the coordinator's and the log's.

    Law: `TrustRoot.parse(r.to_bytes()) == r` and `TrustRoot.parse(b).to_bytes() == b`.

    Attributes:
        coordinator_id: the coordinator's id.
        coordinator_key: the key it signs statements with.
        log_vkey: the log's note key, type 0x01.
        witnesses: note keys of type 0x04; every one of them must have cosigned a checkpoint for it to count.

    Raises:
        MalformedError: a vkey that is none, or one of the wrong type.
        StatementError: an id of the wrong form, or a witness named twice.
    """

    coordinator_id: str
    coordinator_key: PublicKey
    log_vkey: str
    witnesses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_id(self.coordinator_id, "trust root: coordinator_id")
        require_unique(self.witnesses, "trust root: witnesses")
        if LogKey.parse(self.log_vkey).type is not KeyType.ED25519:
            raise MalformedError("trust root: log_vkey is a cosignature key, not the log's")
        if any(LogKey.parse(vkey).type is not KeyType.COSIGNATURE for vkey in self.witnesses):
            raise MalformedError("trust root: a witness key is not a cosignature key")

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The trust root that canonical JSON bytes hold.

        Raises:
            MalformedError: not the canonical JSON of a trust root.
        """
        value = decode(data, "trust root")
        if not isinstance(value, dict) or value.pop("format", None) != TRUST_ROOT_FORMAT:
            raise MalformedError(f"trust root: format is not {TRUST_ROOT_FORMAT!r}")
        try:
            return from_plain(cls, value, "trust root")
        except StatementError as error:
            raise MalformedError(str(error)) from error

    def to_bytes(self) -> bytes:
        """The trust root as canonical JSON."""
        return encode({"format": TRUST_ROOT_FORMAT, **to_plain(self)})


def open_roster(roster: bytes | Envelope, root: TrustRoot) -> Proven[Roster]:
    """The roster that the trust root's coordinator signed. Nobody's clock is read: its expiry is not looked at.

    Raises:
        TrustError: it is not; the kind says how.
    """
    proven = open_statement(roster, Roster, [root.coordinator_key])
    if proven.value.coordinator_id != root.coordinator_id:
        raise StatementError(f"roster: is of coordinator {proven.value.coordinator_id}, not {root.coordinator_id}")
    if proven.value.coordinator_key != root.coordinator_key:
        raise SignatureError("roster: names another coordinator key than the one that signed it")
    return proven


def known_witnesses(root: TrustRoot, roster: Roster) -> tuple[str, ...]:
    """The roster's witness keys that the trust root does not demand already."""
    return tuple(vkey for vkey in roster.witnesses if vkey not in root.witnesses)
