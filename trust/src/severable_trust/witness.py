"""What a party that watches a log holds against it: its own last view, and whether the next one continues it.

Pure rules; the daemon of a data owner keeps the view on its own disk, where the log's keeper cannot reach it
(C2SP tlog-witness, https://c2sp.org/tlog-witness; consistency proofs after RFC 9162, 2.1.4).
"""

from collections.abc import Sequence

from severable_trust.checkpoint import Checkpoint
from severable_trust.errors import LogError, StatementError
from severable_trust.merkle import verify_consistency
from severable_trust.note import open_checkpoint
from severable_trust.roster import Roster
from severable_trust.statement import Proven


def advance_view(held: str | None, offered: str, proof: Sequence[bytes], log_vkey: str) -> Checkpoint:
    """The checkpoint of the offered note, if the log it commits to continues the one of the held note.

    Law: for any log that only ever appended, every pair of its checkpoints with its own proof is accepted; after a
    change, removal or reordering of any entry under the held checkpoint, none is.

    Args:
        held: the note that was accepted last, or None at the first sight.
        offered: the note that the log now shows.
        proof: consistency proof from the held size to the offered size, 32 bytes each; empty where none exists.
        log_vkey: the log's verifier key, from the trust root.

    Raises:
        LogError: the log shrank, forked or was rewritten, or the proof does not show that it was not.
        MalformedError: a note that cannot be read.
        SignatureError: a note that the log did not sign.
    """
    new = open_checkpoint(offered, log_vkey)
    if held is None:
        return new
    old = open_checkpoint(held, log_vkey)
    if new.size < old.size:
        raise LogError(f"the log shrank: {old.size} entries were signed before, {new.size} are shown now")
    if new.size == old.size and new.root != old.root:
        raise LogError(f"the log forked: it signed two different trees of {new.size} entries")
    if old.size == 0:
        return new  # nothing was committed to, and RFC 9162 has no proof from an empty tree
    try:
        verify_consistency(old.size, new.size, old.root, new.root, tuple(proof))
    except LogError as error:
        message = f"the log was rewritten: what it shows does not continue the {old.size} entries seen before ({error})"
        raise LogError(message) from error
    return new


def advance_roster(held: Proven[Roster], offered: Proven[Roster]) -> Proven[Roster]:
    """The offered roster, if it is the held one or a later version of it.

    Raises:
        StatementError: a version that is older, or the same version with another content.
    """
    if offered.value.version < held.value.version:
        raise StatementError(
            f"roster: version {offered.value.version} is shown, version {held.value.version} was shown before"
        )
    if offered.value.version == held.value.version and offered.id != held.id:
        raise StatementError(f"roster: two different rosters are both version {held.value.version}")
    return offered
