"""The owner's decisions as files in the jobs' folders, one for each shard; the first one stands."""

import os
from datetime import datetime
from pathlib import Path

from severable_client.adapters.files import storage, write_whole
from severable_client.errors import StorageError
from severable_client.release import Decision, Verb
from severable_trust.canonical import decode, encode
from severable_trust.digest import Digest
from severable_trust.errors import TrustError

_PRIVATE = 0o600


class FolderDecisionStore:
    """Decisions below the jobs' folders.

    Args:
        folder: the folder of jobs' folders.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, job_id: str, decision: Decision) -> Decision:
        """Keep it unless the same shard is decided about already."""
        path = self._path(job_id, decision.shard)
        fields = {
            "at": decision.at.isoformat(), "decision": decision.verb.value,
            "reason": decision.reason, "shard": decision.shard,
        }  # fmt: skip
        draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
        write_whole(draft, encode(fields), _PRIVATE)
        with storage(f"{path} cannot be written"):
            try:
                os.link(draft, path)  # unlike a rename it never takes the place of another process's decision
            except FileExistsError:
                return self._read(path)
            finally:
                draft.unlink()
        return decision

    def of(self, job_id: str) -> tuple[Decision, ...]:
        """Return every decision about a shard of this job, oldest first."""
        found = (self._read(path) for path in (self._folder / job_id).glob("decision-*.json"))
        return tuple(sorted(found, key=lambda decision: (decision.at, decision.shard)))

    def _path(self, job_id: str, shard: str) -> Path:
        return self._folder / job_id / f"decision-{Digest.parse(shard).hex[:16]}.json"

    @staticmethod
    def _read(path: Path) -> Decision:
        with storage(f"{path} cannot be read"):
            data = path.read_bytes()
        try:
            fields = decode(data, "decision")
            if not isinstance(fields, dict):
                raise StorageError(f"{path} is not a decision; remove it and decide again")
            return Decision(
                verb=Verb(fields["decision"]),
                shard=str(fields["shard"]),
                reason=str(fields["reason"]),
                at=datetime.fromisoformat(fields["at"]),
            )
        except (TrustError, KeyError, TypeError, ValueError) as error:
            raise StorageError(f"{path} is not a decision: {error}; remove it and decide again") from error
