"""A new statement key in the place of the old one: made here, announced under both keys, then put in place.

Interrupted at any point, the same command goes on: the next key waits in a file of its own until the coordinator's
roster names it, and the old one is only given up after that.
"""

from datetime import datetime
from typing import Protocol

from severable_client.adapters.files import storage, write_whole
from severable_client.adapters.keys import PRIVATE, read_former, read_public, read_signer
from severable_client.errors import AnswerError, JobStateError
from severable_client.home import Layout
from severable_client.ports import JobState, JobStore
from severable_trust.errors import TrustError
from severable_trust.keys import PemSigner, PublicKey
from severable_trust.rotation import KeyRotation
from severable_trust.statement import sign_statement
from severable_trust.trust_root import TrustRoot, open_roster


class Rotator(Protocol):
    """The one call of the exchange that rotating needs."""

    def rotate_key(self, envelope: bytes) -> bytes:
        """Announce the new key; return the roster's envelope that names it. ExchangeError."""
        ...


def require_idle(jobs: JobStore) -> None:
    """Refuse while a shard is on its way whose claim the old key signed.

    Raises:
        JobStateError: one is.
    """
    for job in jobs.all():
        if job.report.state is JobState.SHIPPING:
            raise JobStateError(f"job {job.id} is being shipped under the present key; rotate when it has arrived")


def rotate(layout: Layout, party: str, root: TrustRoot, rotator: Rotator, at: datetime) -> PublicKey:
    """Make, announce and put in place a new statement key; returns its public half.

    Raises:
        ExchangeError: the coordinator cannot be reached, refuses, or its roster does not name the new key.
        HomeError: the present key cannot be read.
        StorageError: the disk.
    """
    current = read_signer(layout)
    upcoming = _next(layout)
    if current.public_key == upcoming.public_key:
        return _settle(layout, upcoming)
    statement = KeyRotation(party=party, previous=current.public_key, next=upcoming.public_key, issued=at)
    roster = rotator.rotate_key(sign_statement(statement, current, upcoming).to_bytes())
    try:
        named = open_roster(roster, root).value.party(party).statement_key
    except TrustError as error:
        raise AnswerError(f"the coordinator's roster does not hold: {error}; the present key stays") from error
    if named != upcoming.public_key:
        raise AnswerError("the coordinator's roster does not name the new key; the present key stays")
    return _settle(layout, upcoming)


def _next(layout: Layout) -> PemSigner:
    if not layout.statement_next.is_file():
        write_whole(layout.statement_next, PemSigner.generate().private_pem(), PRIVATE)
    with storage(f"{layout.statement_next} cannot be read"):
        return PemSigner(layout.statement_next.read_bytes())


def _settle(layout: Layout, upcoming: PemSigner) -> PublicKey:
    key = upcoming.public_key
    if (before := read_public(layout)) != key:
        former = (before, *read_former(layout))
        write_whole(layout.statement_former, "".join(dict.fromkeys(k.pem for k in former)).encode())
        # The private half goes first: whoever only verifies may lag, whoever signs may not.
        write_whole(layout.statement_key, upcoming.private_pem(), PRIVATE)
        write_whole(layout.statement_public, key.pem.encode("ascii"))
    with storage(f"{layout.statement_next} cannot be removed"):
        layout.statement_next.unlink()
    return key
