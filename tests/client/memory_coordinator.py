"""A coordinator in memory that keeps the `Exchange` port, and whose streams break where a test says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from severable_client.errors import UnreachableError
from severable_client.exchange import ContractListing, FileChunk, ReceiptStatus, Upload, Verdict
from severable_client.shipping import SMALLEST_CHUNK

SHARD = "sha256:" + "ab" * 32


@dataclass
class MemoryCoordinator:
    """Keeps what it is sent; `cuts` are how many chunks each stream takes before it breaks."""

    cuts: list[int] = field(default_factory=list)
    verdict: Verdict = field(default=Verdict(admitted=True, shard=SHARD, reason=""))
    held: dict[str, bytes] = field(default_factory=dict)
    chunk_bytes: int = SMALLEST_CHUNK
    opened: int = 0
    taken: int = 0

    def open_upload(self, claim: bytes) -> Upload:
        assert claim == b"claim"
        self.opened += 1
        offsets = {name: len(data) for name, data in self.held.items()}
        return Upload(id="u", offsets=offsets, chunk_bytes=self.chunk_bytes, finished=False)

    def send(self, upload: str, chunks: Iterator[FileChunk]) -> Mapping[str, int]:
        assert upload == "u"
        limit = self.cuts.pop(0) if self.cuts else None
        for number, chunk in enumerate(chunks):
            if number == limit:
                raise UnreachableError("the stream broke")
            assert chunk.offset == len(self.held.get(chunk.name, b""))
            self.held[chunk.name] = self.held.get(chunk.name, b"") + chunk.data
            self.taken += len(chunk.data)
        return {name: len(data) for name, data in self.held.items()}

    def finish(self, upload: str) -> Verdict:
        assert upload == "u"
        return self.verdict

    def contracts(self) -> ContractListing:
        raise NotImplementedError

    def sign_contract(self, envelope: bytes) -> str:
        raise NotImplementedError

    def request_erasure(self, envelope: bytes) -> bytes:
        raise NotImplementedError

    def receipt(self, request: str) -> ReceiptStatus:
        raise NotImplementedError
