"""The shard in a job's folder: its claim, if all that it names is still there byte for byte."""

from pathlib import Path

from severable_client.adapters.files import storage
from severable_client.errors import StorageError
from severable_trust.digest import measure
from severable_trust.errors import TrustError
from severable_trust.keys import PublicKey
from severable_trust.shard import ShardClaim
from severable_trust.statement import Proven, open_statement

CLAIM = "claim.dsse.json"


def held_claim(folder: Path, own: PublicKey) -> Proven[ShardClaim] | None:
    """Return the claim of an earlier worker; None where none is, or where a file is not the one it names.

    Raises:
        StorageError: a file cannot be read, or the claim is not this party's own.
    """
    path = folder / CLAIM
    if not path.is_file():
        return None
    with storage(f"{path} cannot be read"):
        claim = prove(folder, path.read_bytes(), own)
        for file in claim.value.files:
            held = folder / file.name
            if not held.is_file() or held.stat().st_size != file.size:
                return None
            with held.open("rb") as stream:  # what leaves is what the gate saw, however long it lay here
                if measure(stream)[1] != file.digest:
                    return None
    return claim


def prove(folder: Path, claim: bytes, own: PublicKey) -> Proven[ShardClaim]:
    """Return the claim in these bytes.

    Raises:
        StorageError: it is not signed by this party's key.
    """
    try:
        return open_statement(claim, ShardClaim, [own])
    except TrustError as error:
        raise StorageError(f"the claim in {folder} does not hold: {error}; remove that folder") from error
