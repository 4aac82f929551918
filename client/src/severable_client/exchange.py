"""The coordinator as a data owner sees it: what is said over the wire, and the two ports that say it.

The adapters over gRPC are ``adapters.exchange_grpc`` and ``adapters.enrolment_grpc``; gRPC and protobuf do not show
here. Nothing that these values carry is believed before its envelope is verified.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractItem:
    """A contract as the coordinator lists it; nothing of it is believed before its envelope is verified."""

    id: str
    envelope: bytes
    state: str
    recipes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ContractListing:
    """Everything the coordinator has for this party, and the roster's envelope."""

    items: tuple[ContractItem, ...]
    roster: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An opened upload: how much of each file the coordinator holds, and whether it is admitted already."""

    id: str
    offsets: Mapping[str, int] = field(default_factory=dict)
    chunk_bytes: int
    finished: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChunk:
    """A run of bytes of one file, beginning at offset."""

    name: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How an upload ended: admitted with the shard's id, or refused with one line."""

    admitted: bool
    shard: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReceiptStatus:
    """Where a removal stands at the coordinator; bundle is empty until it is fulfilled, denial unless it was denied."""

    status: str
    bundle: bytes
    denial: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What a party sends to join: public material only, besides the one-time token."""

    token: str
    certificate_request_pem: bytes
    statement_key_pem: str
    node_key: str
    legal_name: str
    witness_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """What the coordinator answers to an application."""

    party: str
    certificate_pem: bytes
    trust_root: bytes
    roster: bytes
    exchange_address: str
    fleet_address: str


class Exchange(Protocol):
    """The coordinator, as an enrolled party sees it. Every call may raise an ExchangeError."""

    def contracts(self) -> ContractListing:
        """Fetch everything on offer or signed."""
        ...

    def sign_contract(self, envelope: bytes) -> str:
        """Send a countersigned contract; return the state that the coordinator gives it."""
        ...

    def request_erasure(self, envelope: bytes) -> bytes:
        """Send an erasure request; return the acknowledgement's envelope."""
        ...

    def receipt(self, request: str) -> ReceiptStatus:
        """Ask for the receipt of an erasure request."""
        ...

    def open_upload(self, claim: bytes) -> Upload:
        """Open the upload of this claim, or find it again."""
        ...

    def send(self, upload: str, chunks: Iterator[FileChunk]) -> Mapping[str, int]:
        """Send chunks in one stream; return how much of each file the coordinator then holds."""
        ...

    def finish(self, upload: str) -> Verdict:
        """Close the upload and learn whether the shard is admitted."""
        ...


class Enrolment(Protocol):
    """The coordinator, as a stranger with an invite sees it."""

    def join(self, application: Application) -> Membership | None:
        """Exchange the token for a place in the roster; None while the coordinator's operator has not approved.

        The same application again is answered as the first one was, or better.
        """
        ...
