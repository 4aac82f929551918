"""Who may call what: every RPC against every caller that must not get through, and every thing that is another party's.

The tables name each RPC of the protocol; one that is added without a row here fails the suite.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc
import pytest
from coordinator.federation import Owner, quiet, shard_files, terms
from coordinator.served import TIMEOUT_S, Served, chunks, refused, serving

from severable_coordinator.adapters.authority import issue_party, issue_server, new_authority
from severable_protos.v1 import exchange_pb2 as pb
from severable_protos.v1 import exchange_pb2_grpc as rpc
from severable_trust.digest import Digest
from severable_trust.keys import PemSigner
from severable_trust.note import cosign
from severable_trust.rotation import KeyRotation
from severable_trust.statement import sign_statement

DENIED = grpc.StatusCode.PERMISSION_DENIED
MISSING = grpc.StatusCode.NOT_FOUND
MALFORMED = grpc.StatusCode.INVALID_ARGUMENT


@dataclass
class Stage:
    """Archive has an offer that waits, a contract in force, an upload under way, a request and its removal."""

    served: Served
    offer: bytes
    claim: bytes
    upload: str
    request: bytes
    request_id: str

    def stub(self, name: str) -> rpc.ExchangeStub:
        return self.served.stub(name)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    home = tmp_path_factory.mktemp("attacks") / "home"
    with serving(home, "archive", "clinic", "leaver", "newcomer") as served:
        world = served.world
        world.agree("archive")
        claim = world.claim("archive", shard_files("archive")).to_bytes()
        upload = served.stub("archive").OpenUpload(pb.OpenUploadRequest(claim=claim), timeout=TIMEOUT_S).upload
        offer = world.coordinator.contracting.offer("newcomer", world.recipe, terms())
        leaving = world.ask_for_erasure("leaver", world.agree("leaver"))
        record = world.coordinator.requests.receive("leaver", leaving)
        world.coordinator.removal.run(record, quiet)
        yield Stage(served, offer.to_bytes(), claim, upload, leaving.to_bytes(), str(record.request))


def message(stage: Stage, name: str) -> object:
    """A well-formed message for an RPC; whoever may call it would get an answer."""
    built: dict[str, Callable[[], object]] = {
        "RenewCertificate": lambda: pb.RenewCertificateRequest(
            certificate_request_pem=stage.served.world.owners["archive"].request_pem()
        ),
        "GetCheckpoint": pb.GetCheckpointRequest,
        "CosignCheckpoint": lambda: pb.CosignCheckpointRequest(note=_cosigned(stage, "archive")),
        "RotateKey": lambda: pb.RotateKeyRequest(envelope=_rotation(stage, "archive")),
        "ListContracts": pb.ListContractsRequest,
        "SignContract": lambda: pb.SignContractRequest(envelope=stage.offer),
        "RequestErasure": lambda: pb.RequestErasureRequest(envelope=stage.request),
        "GetReceipt": lambda: pb.GetReceiptRequest(request=stage.request_id),
        "OpenUpload": lambda: pb.OpenUploadRequest(claim=stage.claim),
        "SendChunks": lambda: chunks(stage.upload, shard_files("archive")),
        "FinishUpload": lambda: pb.FinishUploadRequest(upload=stage.upload),
    }
    return built[name]()


def _cosigned(stage: Stage, name: str) -> str:
    world = stage.served.world
    return cosign(world.coordinator.log.checkpoint()[1], world.owners[name].witness, world.clock())


def _rotation(stage: Stage, name: str) -> bytes:
    owner, upcoming = stage.served.world.owners[name], PemSigner.generate()
    statement = KeyRotation(
        party=name, previous=owner.signer.public_key, next=upcoming.public_key, issued=stage.served.world.clock()
    )
    return sign_statement(statement, owner.signer, upcoming).to_bytes()


RPCS = [method.name for method in pb.DESCRIPTOR.services_by_name["Exchange"].methods]


def test_every_rpc_of_the_protocol_has_its_rows_here(stage: Stage) -> None:
    for name in RPCS:
        assert message(stage, name) is not None
    assert [method.name for method in pb.DESCRIPTOR.services_by_name["Enrolment"].methods] == ["Join"]
    assert {name for name, *_ in ANOTHERS} == set(RPCS) - FOR_EVERY_PARTY


def credentials(stage: Stage, who: str) -> tuple[bytes | None, bytes | None]:
    """Key and certificate of a caller that must not get through."""
    world, owner = stage.served.world, Owner.make("archive")
    if who == "nobody":
        return None, None
    if who == "a foreign authority's":
        foreign = new_authority("federation", world.clock())
        return owner.tls_pem(), issue_party(foreign, owner.request_pem(), "archive", world.clock())
    if who == "a server":
        pair = issue_server(world.coordinator.authority, "archive", world.clock())
        return pair.private_key, pair.certificate
    if who == "a name out of the roster":
        return owner.tls_pem(), issue_party(world.coordinator.authority, owner.request_pem(), "ghost", world.clock())
    return world.owners["revoked"].tls_pem(), world.certificates["revoked"]


@pytest.mark.parametrize("name", RPCS)
@pytest.mark.parametrize(
    "who", ["nobody", "a foreign authority's", "a server", "a name out of the roster", "a revoked party"]
)
def test_a_caller_that_is_no_party_in_good_standing_gets_nothing(stage: Stage, name: str, who: str) -> None:
    if who == "a revoked party" and "revoked" not in stage.served.world.owners:
        stage.served.world.join("revoked")
        stage.served.world.standing.revoke("revoked")
    error = refused(getattr(stage.served.stub_with(*credentials(stage, who)), name), message(stage, name))
    in_handshake = {"nobody", "a foreign authority's", "a server"}
    expected = {grpc.StatusCode.UNAVAILABLE} if who in in_handshake else {DENIED}
    assert error.code() in expected | ({DENIED} if who == "a server" else set())
    if who not in in_handshake:
        assert "roster" in str(error.details())


# What a party in good standing may not do with what is another's, or with what does not exist.
FOR_EVERY_PARTY = {"RenewCertificate", "GetCheckpoint", "ListContracts"}  # they take nothing that could be another's
Row = tuple[str, str, Callable[[Stage], object], grpc.StatusCode, str]
ANOTHERS: list[Row] = [
    ("CosignCheckpoint", "another's line", lambda s: pb.CosignCheckpointRequest(note=_cosigned(s, "archive")), DENIED,
     "not carry a cosignature by clinic"),
    ("RotateKey", "another's key", lambda s: pb.RotateKeyRequest(envelope=_rotation(s, "archive")), DENIED,
     "unknown key"),
    ("SignContract", "another's offer", lambda s: pb.SignContractRequest(envelope=s.offer), DENIED,
     "not yours to sign"),
    ("SignContract", "an unknown offer", lambda s: pb.SignContractRequest(envelope=s.request), MISSING, "no contract"),
    ("RequestErasure", "another's request", lambda s: pb.RequestErasureRequest(envelope=s.request), DENIED,
     "unknown key"),
    ("RequestErasure", "another's contract", lambda s: pb.RequestErasureRequest(envelope=_erasure_of_archive(s)),
     DENIED, "is not yours"),
    ("RequestErasure", "an unknown contract", lambda s: pb.RequestErasureRequest(envelope=_erasure_of_nothing(s)),
     MISSING, "no contract"),
    ("GetReceipt", "another's receipt", lambda s: pb.GetReceiptRequest(request=s.request_id), DENIED, "is not yours"),
    ("GetReceipt", "an unknown request", lambda _: pb.GetReceiptRequest(request="sha256:" + "0" * 64), MISSING,
     "no removal"),
    ("GetReceipt", "no digest", lambda _: pb.GetReceiptRequest(request="x"), MALFORMED, "digest"),
    ("OpenUpload", "another's claim", lambda s: pb.OpenUploadRequest(claim=s.claim), DENIED, "unknown key"),
    ("OpenUpload", "another's task", lambda s: pb.OpenUploadRequest(claim=_claim_of_archives_task(s)), DENIED,
     "given to another party"),
    ("SendChunks", "another's upload", lambda s: chunks(s.upload, shard_files("archive")), DENIED, "not yours"),
    ("SendChunks", "an unknown upload", lambda _: chunks("ff" * 32, shard_files("archive")), MISSING, "no upload"),
    ("SendChunks", "nothing", lambda _: iter(()), DENIED, "no chunk"),
    ("FinishUpload", "another's upload", lambda s: pb.FinishUploadRequest(upload=s.upload), DENIED, "not yours"),
    ("FinishUpload", "an unknown upload", lambda _: pb.FinishUploadRequest(upload="ff" * 32), MISSING, "no upload"),
]  # fmt: skip


def _erasure_of_archive(stage: Stage) -> bytes:
    contract = stage.served.world.coordinator.contracts.contracts("archive")[0].id
    return stage.served.world.ask_for_erasure("clinic", contract).to_bytes()


def _erasure_of_nothing(stage: Stage) -> bytes:
    return stage.served.world.ask_for_erasure("clinic", Digest.of(b"nothing")).to_bytes()


def _claim_of_archives_task(stage: Stage) -> bytes:
    world = stage.served.world
    nonce, contract = world.task("archive")
    return world.claim("clinic", shard_files("clinic"), nonce=nonce, contract=Digest.parse(contract)).to_bytes()


@pytest.mark.parametrize(
    ("name", "ask", "code", "why"),
    [(name, ask, code, why) for name, _, ask, code, why in ANOTHERS],
    ids=[f"{name} of {what}" for name, what, *_ in ANOTHERS],
)
def test_a_party_gets_nothing_of_anothers_and_nothing_that_is_not_there(
    stage: Stage, name: str, ask: Callable[[Stage], object], code: grpc.StatusCode, why: str
) -> None:
    error = refused(getattr(stage.stub("clinic"), name), ask(stage))
    assert error.code() is code
    assert why in str(error.details())


def test_listings_and_renewals_are_the_callers_own_whatever_it_sends(stage: Stage) -> None:
    listing = stage.stub("clinic").ListContracts(pb.ListContractsRequest(), timeout=TIMEOUT_S)
    assert list(listing.contracts) == []
