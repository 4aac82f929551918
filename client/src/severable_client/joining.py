"""What is asked of an invite, of an owner's wishes and of a coordinator's answer before a home is made of them.

Pure rules; the files are made in ``adapters.founding``.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from severable_client.errors import AnswerError, InviteError
from severable_client.exchange import Application, Membership
from severable_client.invite import Invite, require_usable
from severable_trust.errors import TrustError
from severable_trust.keys import PublicKey
from severable_trust.trust_root import TrustRoot, open_roster

MAX_NAME = 120  # characters

_ADDRESS = re.compile(r"[A-Za-z0-9.:\[\]-]+:[0-9]{1,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the owner decides when joining.

    Attributes:
        home: where the home folder shall be; it must not exist, or be empty.
        data: the folder of images.
        legal_name: 1 to 120 printable characters, as contracts shall carry it.
        fingerprint: the authority's fingerprint as told over another channel, or None.
        statement_key: URI of a statement key that a token or key service holds, or "" to make one in the home.
        statement_public: the public half of that key, or None.
    """

    home: Path
    data: Path
    legal_name: str
    fingerprint: str | None = None
    statement_key: str = ""
    statement_public: PublicKey | None = None


def require_ready(invite: Invite, wishes: Wishes, at: datetime) -> None:
    """Refuse what could not succeed, before the one-time token is used up.

    Args:
        invite: parsed, not yet checked against time or fingerprint.
        wishes: what the owner decides.
        at: now (UTC).

    Raises:
        InviteError: expired, another fingerprint, or a legal name of the wrong form.
    """
    require_usable(invite, at, wishes.fingerprint)
    if not 1 <= len(wishes.legal_name) <= MAX_NAME or not wishes.legal_name.isprintable():
        raise InviteError(f"--legal-name: give 1 to {MAX_NAME} printable characters")


def require_member(membership: Membership, invite: Invite, application: Application) -> None:
    """Refuse an answer that does not make this party, with the key it sent, a member.

    Raises:
        AnswerError: another party, a roster that does not hold or names another key, or no usable address.
    """
    if membership.party != invite.party:
        raise AnswerError(f"the coordinator enrolled {membership.party[:80]!r}, the invite is for {invite.party!r}")
    try:
        root = TrustRoot.parse(membership.trust_root)
        entry = open_roster(membership.roster, root).value.party(invite.party)
    except TrustError as error:
        raise AnswerError(f"the coordinator's trust root or roster does not hold: {error}") from error
    if entry.statement_key != PublicKey.from_pem(application.statement_key_pem):
        raise AnswerError("the roster names another statement key than the one sent")
    if entry.witness != application.witness_key:
        raise AnswerError("the roster names another witness key than the one sent")
    for address in (membership.exchange_address, membership.fleet_address):
        if not _ADDRESS.fullmatch(address):
            raise AnswerError(f"the coordinator gave {address[:80]!r}, which is not host:port")
