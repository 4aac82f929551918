"""One small federation for the client's tests: real keys, real signatures, a real authority; nothing is pretended."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from PIL import Image

from severable_client.adapters.config import read_config, write_config
from severable_client.adapters.founding import join
from severable_client.adapters.memory import MemoryContractStore, MemoryJournal, MemoryRecipeStore
from severable_client.bootstrap import now
from severable_client.consent import Rule
from severable_client.contracts import Holdings, Sides
from severable_client.exchange import Application, ContractItem, Membership
from severable_client.home import Layout
from severable_client.invite import FORMAT, PREFIX, Invite, parse_invite
from severable_client.joining import Wishes
from severable_trust.canonical import encode
from severable_trust.contract import Action, Contract, DeletionDuty, Limits, PartyRef
from severable_trust.digest import Digest
from severable_trust.envelope import Envelope
from severable_trust.keys import PemSigner, PublicKey
from severable_trust.note import LogSigner
from severable_trust.roster import PartyStatus, Roster, RosterParty
from severable_trust.statement import sign_statement, statement_id
from severable_trust.trust_root import TrustRoot

PARTY, COORDINATOR = "owner-a", "federation"
NONCE = "5a" * 32
APP = Digest.of(b"app bundle")
NOON = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
TINY: dict[str, Any] = {
    "name": "tiny",
    "image": {"channels": 1, "size": 8},
    "process": {"schedule": "cosine", "steps": 100},
    "parametrization": "v",
    "architecture": {
        "block_out_channels": [8],
        "layers_per_block": 1,
        "down_block_types": ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"],
        "norm_num_groups": 4,
        "mid_block": False,
        "mid_attention": False,
    },
    "training": {"epochs": 100, "max_steps": 6, "batch": 8, "learning_rate": 0.004, "warmup_steps": 2},
    "bank": {"images": 16, "steps": 2},
    "router": {"channels": 8, "steps": 4, "batch": 4, "learning_rate": 0.003},
    "sampler": {"scheduler": "ddim", "steps": 2},
}
RECIPE_BYTES = encode(TINY)
RECIPE = Digest.of(RECIPE_BYTES)


@dataclass(frozen=True)
class Authority:
    """A certificate authority and what it hands out."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        built = _builder(name, name, key.public_key(), days=30)
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        return cls(key, built.sign(key, hashes.SHA256()))

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def certify(self, request_pem: bytes, days: int = 30) -> bytes:
        request = x509.load_pem_x509_csr(request_pem)
        key = request.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        built = _builder(request.subject, self.certificate.subject, key, days)
        return built.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def server(self) -> tuple[bytes, bytes]:
        """Key and certificate (PEM) of a server on loopback."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "coordinator")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")])
        built = _builder(name, self.certificate.subject, key.public_key(), days=30).add_extension(names, critical=False)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return pem, built.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    moment = datetime.now(UTC)
    begin = moment - timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(moment + timedelta(days=days) if days > 0 else begin + timedelta(hours=1))
    )


@dataclass(frozen=True)
class Federation:
    """The coordinator's keys and one owner's, with what they sign."""

    coordinator: PemSigner
    owner: PemSigner
    authority: Authority
    log: LogSigner

    @classmethod
    def make(cls) -> "Federation":
        return cls(PemSigner.generate(), PemSigner.generate(), Authority.make(), LogSigner.generate("log.example"))

    @property
    def sides(self) -> Sides:
        return Sides(party=PARTY, own=self.owner.public_key, coordinator=self.coordinator.public_key)

    @property
    def trust_root(self) -> TrustRoot:
        return TrustRoot(
            coordinator_id=COORDINATOR, coordinator_key=self.coordinator.public_key, log_vkey=self.log.vkey
        )

    def contract(self, *, owner: PublicKey | None = None, begins: datetime | None = None, **changes: Any) -> Contract:
        begins = begins or NOON - timedelta(days=1)
        owner = owner or self.owner.public_key
        made = Contract(
            uid="urn:example:contract",
            version=1,
            assigner=PartyRef(PARTY, "Owner A", owner.key_id),
            assignee=PartyRef(COORDINATOR, "Federation", self.coordinator.public_key.key_id),
            target="digits",
            permissions=(Action.TRAIN, Action.COMPOSE),
            recipients=("licensees",),
            valid_from=begins,
            valid_until=begins + timedelta(days=10),
            notice_days=0,
            weight=1.0,
            recipes=(RECIPE,),
            apps=(APP,),
            limits=Limits(min_images=10, memorization_ceiling=1.0),
            deletion=DeletionDuty(deadline_days=7, scope=("shard",), evidence="receipt", triggers=("termination",)),
            governing_law="none",
            legal_basis="none",
            previous=None,
        )
        return replace(made, **changes)

    def offer(self, contract: Contract | None = None) -> Envelope:
        return sign_statement(contract or self.contract(), self.coordinator)

    def signed(self, contract: Contract | None = None) -> Envelope:
        return self.offer(contract).countersigned(self.owner)

    def roster(self, statement_key: PublicKey, node_key: str = "", witness: str = "") -> Envelope:
        entry = RosterParty(
            id=PARTY,
            legal_name="Owner A",
            statement_key=statement_key,
            node_key=node_key,
            status=PartyStatus.ACTIVE,
            witness=witness,
        )
        roster = Roster(
            version=1,
            expires=now() + timedelta(days=30),
            coordinator_id=COORDINATOR,
            coordinator_key=self.coordinator.public_key,
            parties=(entry,),
        )
        return sign_statement(roster, self.coordinator)

    def invite_text(self, **changes: str) -> str:
        fields = {
            "format": FORMAT,
            "party": PARTY,
            "coordinator": "127.0.0.1:7001",
            "ca_pem": self.authority.pem.decode(),
            "token": "ab" * 32,
            "expires": "2030-01-01T00:00:00Z",
        }
        return invite_of(fields | changes)

    def invite(self, **changes: str) -> Invite:
        return parse_invite(self.invite_text(**changes))


def holdings_of(federation: Federation) -> Holdings:
    return Holdings(
        sides=federation.sides,
        contracts=MemoryContractStore(),
        recipes=MemoryRecipeStore(),
        journal=MemoryJournal(),
        clock=lambda: NOON,
    )


def invite_of(fields: Mapping[str, object]) -> str:
    return PREFIX + base64.urlsafe_b64encode(encode(dict(fields))).decode().rstrip("=")


def item(envelope: Envelope, state: str, *recipes: bytes) -> ContractItem:
    """A contract as a coordinator would list it."""
    return ContractItem(id=str(statement_id(envelope)), envelope=envelope.to_bytes(), state=state, recipes=recipes)


class MemoryEnrolment:
    """Enrols whoever comes, as a coordinator in memory; `changes` make it lie."""

    def __init__(self, federation: Federation, exchange: str = "127.0.0.1:7002", **changes: Any) -> None:
        self._federation = federation
        self._exchange = exchange
        self._changes = changes
        self.applications: list[Application] = []

    def join(self, application: Application) -> Membership | None:
        self.applications.append(application)
        key = PublicKey.from_pem(application.statement_key_pem)
        membership = Membership(
            party=PARTY,
            certificate_pem=self._federation.authority.certify(application.certificate_request_pem),
            trust_root=self._federation.trust_root.to_bytes(),
            roster=self._federation.roster(key, application.node_key, application.witness_key).to_bytes(),
            exchange_address=self._exchange,
            fleet_address="127.0.0.1:7003",
        )
        return replace(membership, **self._changes)


def write_images(folder: Path, count: int = 16, size: int = 8, mode: str = "L") -> Path:
    """Write a flat folder of noise pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(7)
    for number in range(count):
        shape = (size, size) if mode == "L" else (size, size, 3)
        Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8), mode).save(folder / f"{number:03d}.png")
    return folder


def make_home(federation: Federation, root: Path, exchange: str = "127.0.0.1:7002", rule: Rule = Rule.CONTRACT) -> Path:
    """Join in memory and return the home, with sixteen images beside it; a signed contract approves its recipes."""
    wishes = Wishes(home=root / "home", data=write_images(root / "images"), legal_name="Owner A")
    join(federation.invite(), wishes, lambda _: MemoryEnrolment(federation, exchange), NOON)
    path = Layout(wishes.home).config
    write_config(path, replace(read_config(path), approve=rule))
    return wishes.home


def tiny_recipe(**training: Any) -> bytes:
    """The tiny recipe's canonical bytes with another training budget."""
    return encode(json.loads(json.dumps(TINY)) | {"training": TINY["training"] | training})
