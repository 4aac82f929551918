"""A coordinator's home with parties of its own making: everything real but Flower, which only dispatches."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from severable_coordinator.adapters.founding import found_home
from severable_coordinator.adapters.recipes import record_of
from severable_coordinator.bootstrap import Coordinator, open_home
from severable_coordinator.config import Config, Layout, Ports
from severable_coordinator.enrolment import Enrolment, Joined
from severable_coordinator.membership import JoinFacts
from severable_coordinator.offers import Terms
from severable_coordinator.ports import RecipeRecord
from severable_coordinator.standing import Standing
from severable_coordinator.uploads import CHUNK_BYTES, Verdict
from severable_diffusion import network
from severable_diffusion.recipe import Recipe
from severable_diffusion.training import Trainer
from severable_trust.contract import Action
from severable_trust.digest import Digest, FileDigest
from severable_trust.envelope import Envelope
from severable_trust.keys import PemSigner
from severable_trust.note import KeyType, LogSigner
from severable_trust.removal import ErasureRequest
from severable_trust.shard import DataDigest, GateReport, ShardClaim
from severable_trust.statement import sign_statement, statement_id

REPOSITORY = Path(__file__).resolve().parents[2]
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
GROUP = "licensees"


def recipe() -> Recipe:
    """The tiny recipe of the integration test."""
    return Recipe.from_dict(json.loads((REPOSITORY / "deploy/severable_demo/recipes/tiny.json").read_text()))


def terms(**changes: object) -> Terms:
    """Usual terms."""
    usual: dict[str, object] = {
        "target": "images",
        "permissions": tuple(Action),
        "recipients": (GROUP,),
        "days": 365,
        "notice_days": 0,
        "weight": 1.0,
        "min_images": 8,
        "memorization_ceiling": 0.5,
        "deletion_days": 7,
        "governing_law": "none",
        "legal_basis": "contract",
    }
    return Terms(**(usual | changes))  # type: ignore[arg-type]  # the usual ones have the fields' types


@dataclass(frozen=True)
class Owner:
    """A data owner's keys, as they would lie on its machine."""

    id: str
    signer: PemSigner
    tls_key: ec.EllipticCurvePrivateKey
    node_key: str
    witness: LogSigner

    @classmethod
    def make(cls, name: str) -> "Owner":
        node = ec.generate_private_key(ec.SECP384R1()).public_key()
        line = node.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return cls(
            name,
            PemSigner.generate(),
            ec.generate_private_key(ec.SECP256R1()),
            line.decode(),
            LogSigner.generate(name, KeyType.COSIGNATURE),
        )

    def request_pem(self, common_name: str | None = None) -> bytes:
        """A certificate request; its subject is what the coordinator must ignore."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name or self.id)])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(self.tls_key, hashes.SHA256())
        return request.public_bytes(serialization.Encoding.PEM)

    def tls_pem(self) -> bytes:
        """The private key of its client certificate."""
        form = serialization.PrivateFormat.PKCS8
        return self.tls_key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


@dataclass
class ManualClock:
    """A clock that moves when told."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **how: float) -> None:
        self.now += timedelta(**how)


@dataclass
class World:
    """One coordinator and its parties."""

    home: Path
    name: str = "federation"
    clock: ManualClock = field(default_factory=ManualClock)
    owners: dict[str, Owner] = field(default_factory=dict)
    certificates: dict[str, bytes] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ports = Ports(enrolment=1, exchange=2, fleet=3, control=4)
        config = Config(id=self.name, legal_name=self.name, host="127.0.0.1", ports=ports)
        found_home(Layout(self.home), config, REPOSITORY / "deploy/flower-app", self.clock())
        self.coordinator: Coordinator = self.reopened()
        self.coordinator.logbook.issue_roster()

    @classmethod
    def of(cls, home: Path, *names: str) -> "World":
        """A coordinator that has an agreement with each of these parties."""
        made = cls(home)
        for name in names:
            made.join(name)
            made.agree(name)
        return made

    def reopened(self) -> Coordinator:
        """The same home in another process's eyes."""
        opened = open_home(self.home)
        return Coordinator(opened.layout, opened.config, self.clock)

    @property
    def standing(self) -> Standing:
        """Standing over the same dictionary in the place of Flower."""

        def unregister(node_key: str) -> None:
            for party in [party for party, known in self.nodes.items() if known == node_key]:
                del self.nodes[party]

        real = self.coordinator
        return Standing(
            parties=real.parties,
            logbook=real.logbook,
            unregister_node=unregister,
            suspend=real.contracting.suspend_all,
        )

    @property
    def enrolment(self) -> Enrolment:
        """Enrolment whose Flower registry is a dictionary: SuperLink itself is tested in tests/integration."""
        real = self.coordinator.enrolment

        def register(node_key: str, party: str) -> None:
            self.nodes[party] = node_key

        return Enrolment(
            parties=real.parties,
            logbook=real.logbook,
            clock=self.clock,
            certify=real.certify,
            register_node=register,
        )

    def join(self, name: str) -> Owner:
        """Invite an owner and let it in."""
        owner = Owner.make(name)
        token, _ = self.enrolment.invite(name, approved=True)
        joined = self.enrolment.join(token, self.facts(owner))
        assert isinstance(joined, Joined)
        self.owners[name], self.certificates[name] = owner, joined.certificate
        return owner

    def facts(self, owner: Owner) -> JoinFacts:
        return JoinFacts(
            request_pem=owner.request_pem(),
            statement_key=owner.signer.public_key,
            node_key=owner.node_key,
            legal_name=owner.id,
            witness=owner.witness.vkey,
        )

    def agree(self, name: str, **changes: object) -> Digest:
        """Offer a contract and have the owner sign it; returns its id."""
        amends = changes.pop("amends", None)
        assert amends is None or isinstance(amends, Digest)
        offered = self.coordinator.contracting.offer(name, self.recipe, terms(**changes), amends)
        signed = offered.countersigned(self.owners[name].signer)
        self.coordinator.contracting.accept(name, signed)
        return statement_id(signed)

    @property
    def recipe(self) -> RecipeRecord:
        return record_of(recipe())

    def task(self, name: str) -> tuple[str, str]:
        """Open a batch for one party; returns its task's nonce and contract."""
        _, tasks = self.coordinator.training.open_batch(self.recipe.digest, frozenset({name}))
        return tasks[0].nonce, tasks[0].contract

    def ship_all(self) -> dict[str, Digest]:
        """One shard of every party; returns their ids by party."""
        return {name: self.ship(name) for name in self.owners}

    def ship(self, name: str, training: int = 0, **changes: object) -> Digest:
        """Train a shard on noise images of the owner's own, claim it and have it admitted; returns its id."""
        files = shard_files(name, training)
        claim = self.claim(name, files, **changes)
        verdict = self.upload(name, claim, files)
        assert verdict.admitted, verdict.reason
        return verdict.shard

    def claim(self, name: str, files: Mapping[str, bytes], **changes: object) -> Envelope:
        """A signed claim over files for a fresh task."""
        nonce, contract = ("", "") if {"nonce", "contract"} <= changes.keys() else self.task(name)
        usual: dict[str, object] = {
            "party": name,
            "contract": Digest.parse(contract) if contract else None,
            "recipe": self.recipe.digest,
            "nonce": nonce,
            "files": tuple(FileDigest(name=n, size=len(d), digest=Digest.of(d)) for n, d in sorted(files.items())),
            "images": 64,
            "data": DataDigest(images=64, classes=(), root=Digest.of(f"images of {name}".encode())),
            "steps": 6,
            "loss": 0.5,
            "gate": GateReport(finite=True, images=64, bytes=sum(map(len, files.values())), memorized_share=0.0),
            "software": (("torch", str(torch.__version__)),),
        }
        if "images" in changes:  # a claim's data are what it was trained on
            usual["data"] = DataDigest(images=int(str(changes["images"])), classes=(), root=Digest.of(b"images"))
        signer = changes.pop("signer", self.owners[name].signer)
        assert isinstance(signer, PemSigner)
        return sign_statement(ShardClaim(**(usual | changes)), signer)  # type: ignore[arg-type]  # as in terms

    def upload(self, name: str, claim: Envelope, files: Mapping[str, bytes]) -> Verdict:
        """Send files in two chunks each, or more where they are large."""
        admission = self.coordinator.admission
        upload = admission.open(name, claim.to_bytes())
        for file, data in files.items():
            half = min(max(1, len(data) // 2), CHUNK_BYTES)
            for offset in range(0, len(data), half):
                admission.take(upload, file, offset, data[offset : offset + half])
        return admission.finish(upload)

    def upload_rest(self, name: str, claim: Envelope, files: Mapping[str, bytes]) -> Verdict:
        """Send what is not held yet of an upload that was begun."""
        admission = self.coordinator.admission
        upload = admission.open(name, claim.to_bytes())
        for file, held in admission.received(upload).items():
            if held < len(files[file]):
                for offset in range(held, len(files[file]), CHUNK_BYTES):
                    admission.take(upload, file, offset, files[file][offset : offset + CHUNK_BYTES])
        return admission.finish(upload)

    def ask_for_erasure(self, name: str, contract: Digest, *, reason: str = "consent withdrawn") -> Envelope:
        """The owner's signed request."""
        request = ErasureRequest(
            request_id=str(uuid.UUID(bytes=hashlib.sha256(f"{name}{contract}".encode()).digest()[:16])),
            party=name,
            contract=contract,
            clause="termination",
            reason_code="consent-withdrawn",
            reason=reason,
            subjects=(),
            submitted=self.clock(),
        )
        return sign_statement(request, self.owners[name].signer)


_FILES: dict[tuple[str, int], dict[str, bytes]] = {}


def shard_files(name: str, training: int = 0) -> dict[str, bytes]:
    """The three files of a really trained tiny shard, the same at every call for one name.

    Another `training` is a new one on the same images, with a seed of its own, as every new job has one.
    """
    if (name, training) not in _FILES:
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        images_NCHW = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        trained = Trainer(recipe(), images_NCHW, seed + training).run()
        _FILES[name, training] = {
            "model.safetensors": network.dump(trained.state_dict),
            "config.json": network.config_bytes(recipe()),
            "manifest.json": b"{}",
        }
    return dict(_FILES[name, training])


def quiet(_what: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""
