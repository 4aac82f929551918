"""Composites and shards as directories: a signed statement and the exact set of files that it lists.

The caller lists the directory (names, sizes, digests); here the list is compared with what was signed.
"""

from collections.abc import Mapping

from severable_trust.composite import CompositeManifest
from severable_trust.digest import Digest, FileDigest
from severable_trust.errors import StatementError
from severable_trust.shard import ShardClaim
from severable_trust.statement import Proven, open_statement, read_unverified
from severable_trust.trust_root import TrustRoot, open_roster

COMPOSITE_MANIFEST = "composite.dsse.json"
SHARD_CLAIM = "claim.dsse.json"


def verify_composite(
    manifest: bytes, files: Mapping[str, tuple[int, Digest]], root: TrustRoot
) -> Proven[CompositeManifest]:
    """The coordinator's manifest, once the files are exactly the ones that it lists.

    Args:
        manifest: the signed manifest.
        files: size in bytes and digest of every file of the directory, the manifest itself left out, by name.
        root: whose signature counts.

    Raises:
        TrustError: the manifest is not the coordinator's, or a file is missing, unlisted or altered.
    """
    proven = open_statement(manifest, CompositeManifest, [root.coordinator_key])
    _check_files(proven.value.files, files, "composite")
    return proven


def verify_shard(
    envelope: bytes, roster: bytes, files: Mapping[str, tuple[int, Digest]], root: TrustRoot
) -> Proven[ShardClaim]:
    """The party's claim, once the files are exactly the ones that it lists.

    Args:
        envelope: the party's signed claim.
        roster: the coordinator's signed roster, which says whose key the party's is.
        files: size in bytes and digest of every file of the directory, the claim itself left out, by name.
        root: whose signature counts.

    Raises:
        TrustError: the roster is not the coordinator's, the claim not an active party's, or a file is missing,
            unlisted or altered.
    """
    parties = open_roster(roster, root).value
    party = parties.party(read_unverified(envelope, ShardClaim).party)
    proven = open_statement(envelope, ShardClaim, party.keys)
    _check_files(proven.value.files, files, "shard")
    return proven


def _check_files(listed: tuple[FileDigest, ...], found: Mapping[str, tuple[int, Digest]], what: str) -> None:
    names = {file.name for file in listed}
    for name in sorted(found.keys() - names):
        raise StatementError(f"{what}: file {name!r} is in the directory but not in the signed list")
    for file in listed:
        if file.name not in found:
            raise StatementError(f"{what}: file {file.name!r} is missing")
        if found[file.name] != (file.size, file.digest):
            raise StatementError(f"{what}: file {file.name!r} is not the one that was signed")
