"""The exchange over a real connection with mutual TLS."""

import io
from collections.abc import Iterator

import pytest
from client.exchange_service import Service, serving
from client.samples import NONCE, RECIPE, RECIPE_BYTES, Federation, item, make_home

from severable_client.adapters.enrolment_grpc import GrpcEnrolment
from severable_client.adapters.exchange_grpc import GrpcExchange
from severable_client.errors import GateError, RefusedByCoordinatorError, UnreachableError
from severable_client.exchange import Application, FileChunk
from severable_client.home import Layout
from severable_client.shipping import Parcel, Patience, ship
from severable_protos.v1 import exchange_pb2 as wire
from severable_trust.digest import Digest, FileDigest
from severable_trust.keys import PemSigner
from severable_trust.shard import SHARD_FILES, DataDigest, GateReport, ShardClaim
from severable_trust.statement import sign_statement, statement_id

FILES = {name: bytes([place]) * (20_000 * place + 10) for place, name in enumerate(SHARD_FILES)}


@pytest.fixture(scope="module")
def layout(federation: Federation, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return Layout(make_home(federation, tmp_path_factory.mktemp("exchange")))


def parcel(signer: PemSigner) -> Parcel:
    claim = ShardClaim(
        party="owner-a",
        contract=Digest.of(b"contract"),
        recipe=RECIPE,
        nonce=NONCE,
        files=tuple(FileDigest.of(name, data) for name, data in FILES.items()),
        images=16,
        data=DataDigest(images=16, classes=(), root=Digest.of(b"images")),
        steps=6,
        loss=0.5,
        gate=GateReport(finite=True, images=16, bytes=10, memorized_share=0.0),
        software=(),
    )
    envelope = sign_statement(claim, signer)
    sizes = {name: len(data) for name, data in FILES.items()}
    shard = str(statement_id(envelope))
    return Parcel(claim=envelope.to_bytes(), shard=shard, sizes=sizes, open=lambda name: io.BytesIO(FILES[name]))


def test_a_listing_comes_back_and_the_certificate_names_the_caller(federation: Federation, layout: Layout) -> None:
    listed = item(federation.offer(), "offered", RECIPE_BYTES)
    listing = wire.ContractItem(id=listed.id, envelope=listed.envelope, state="offered", recipes=[RECIPE_BYTES])
    service = Service(contracts=[listing])
    with serving(service, federation) as address, GrpcExchange(address, layout) as exchange:
        assert exchange.contracts().items == (listed,)
    assert service.callers == {"owner-a"}


def test_an_upload_survives_a_broken_stream_with_every_digest_right(federation: Federation, layout: Layout) -> None:
    service = Service(owner=federation.owner.public_key, cut_after=30_000)
    sent: list[int] = []
    with serving(service, federation) as address, GrpcExchange(address, layout) as exchange:
        verdict = ship(
            parcel(federation.owner),
            exchange,
            patience=Patience(first_s=0.01),
            sleep=lambda _: None,
            on_progress=lambda done, _: sent.append(done),
        )
    assert verdict.admitted
    assert service.streams == 2
    assert service.held == FILES
    assert len(set(service.claims)) == 1


def test_a_refusal_carries_the_coordinators_line_on_one_line(federation: Federation, layout: Layout) -> None:
    with serving(Service(), federation) as address, GrpcExchange(address, layout) as exchange:
        with pytest.raises(RefusedByCoordinatorError, match="refused: shard is not yours") as caught:
            exchange.request_erasure(b"request")
        assert caught.value.code == "PERMISSION_DENIED"


def test_what_goes_wrong_while_reading_is_told_as_itself(federation: Federation, layout: Layout) -> None:
    def chunks() -> Iterator[FileChunk]:
        yield FileChunk(name="config.json", offset=0, data=b"x")
        raise GateError("the contract has ended")

    with (
        serving(Service(), federation) as address,
        GrpcExchange(address, layout) as exchange,
        pytest.raises(GateError, match="the contract has ended"),
    ):
        exchange.send("upload", chunks())


def test_nobody_listening_is_unreachable_and_names_the_address(layout: Layout) -> None:
    with (
        GrpcExchange("127.0.0.1:9", layout, timeout_s=5.0) as exchange,
        pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"),
    ):
        exchange.contracts()


def test_a_server_under_another_authority_is_not_talked_to(layout: Layout) -> None:
    service = Service()
    with (
        serving(service, Federation.make()) as address,
        GrpcExchange(address, layout, timeout_s=5.0) as exchange,
        pytest.raises(UnreachableError),
    ):
        exchange.contracts()
    assert service.callers == set()


def test_enrolment_without_a_service_there_is_refused_or_unreachable_in_one_line(federation: Federation) -> None:
    application = Application(
        token="ab" * 32, certificate_request_pem=b"", statement_key_pem="", node_key="", legal_name="x", witness_key=""
    )
    with pytest.raises(UnreachableError, match="does not answer"):
        GrpcEnrolment("127.0.0.1:9", federation.authority.pem).join(application)
