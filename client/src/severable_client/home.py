"""Where things lie in an owner's home folder. Paths only; nothing here reads or writes.

::

    config.yaml              what this party is called, where the coordinator is, where the images are
    keys/                    folder 0700; private (0600): statement.pem, tls.pem, witness.pem, node, data.salt;
                             public: *.pub, tls.csr, tls.crt
    trust/                   ca.pem, trust-root.json, roster.dsse.json, checkpoint.txt, cosigned.txt, alarm-*.txt
    contracts/<hex>.dsse.json, recipes/<hex>.json
    removals/<hex>/          request.dsse.json, acknowledgement.dsse.json, receipt.json or denial.dsse.json
    images/<space>-<hex>/    a recipe's images, made anew when gone: pixels.bin, labels.bin, classes.json
    jobs/<id>/               model.safetensors, config.json, manifest.json, claim.dsse.json: what leaves, or left;
                             gate.json, gate.html, decision-*.json: the owner's own
    jobs/<id>/training/      checkpoint.safetensors until the job is over, samples-*.png, event files
    erased.txt, erased.lock       keyed hashes of the records that were erased: they are never read again
    journal.jsonl, journal.lock   what left this machine, a chain by hashes; the same is in state.db
    flower/  logs/  state.db  up.lock  up.children
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths under one home folder.

    Attributes:
        root: the home folder itself.
    """

    root: Path

    @property
    def config(self) -> Path:
        """The configuration, YAML."""
        return self.root / "config.yaml"

    @property
    def keys(self) -> Path:
        """The folder of keys."""
        return self.root / "keys"

    @property
    def statement_key(self) -> Path:
        """The private key that signs statements, PEM."""
        return self.keys / "statement.pem"

    @property
    def statement_pin(self) -> Path:
        """The PIN of a statement key that a token holds, where the operator keeps it in a file."""
        return self.keys / "statement.pin"

    @property
    def statement_public(self) -> Path:
        """Its public half, PEM: enough for whoever only verifies."""
        return self.keys / "statement.pub"

    @property
    def statement_next(self) -> Path:
        """The private statement key that a rotation under way will put in place, PEM."""
        return self.keys / "statement.next.pem"

    @property
    def statement_former(self) -> Path:
        """Public statement keys before the present one, PEM blocks, newest first."""
        return self.keys / "statement.former.pub"

    @property
    def data_salt(self) -> Path:
        """The secret of the images' digest, 32 bytes, made when it is first needed."""
        return self.keys / "data.salt"

    @property
    def tls_key(self) -> Path:
        """The private key of the exchange's mutual TLS, PEM."""
        return self.keys / "tls.pem"

    @property
    def tls_certificate(self) -> Path:
        """Its certificate, PEM, issued by the coordinator's authority."""
        return self.keys / "tls.crt"

    @property
    def tls_request(self) -> Path:
        """The certificate request that joining sent, PEM; sent again it must be the same bytes."""
        return self.keys / "tls.csr"

    @property
    def witness_key(self) -> Path:
        """The private key that cosigns the log's checkpoints, PEM."""
        return self.keys / "witness.pem"

    @property
    def node_key(self) -> Path:
        """The Flower node's private key, OpenSSH form."""
        return self.keys / "node"

    @property
    def node_public(self) -> Path:
        """Its public half, one OpenSSH line."""
        return self.keys / "node.pub"

    @property
    def trust(self) -> Path:
        """The folder of what this party takes as given since it joined."""
        return self.root / "trust"

    @property
    def authority(self) -> Path:
        """The coordinator's certificate authority, PEM."""
        return self.trust / "ca.pem"

    @property
    def trust_root(self) -> Path:
        """The trust root: the coordinator's statement key and the log's key."""
        return self.trust / "trust-root.json"

    @property
    def roster(self) -> Path:
        """The roster's envelope."""
        return self.trust / "roster.dsse.json"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint of the coordinator's log that this party accepted last, a signed note."""
        return self.trust / "checkpoint.txt"

    @property
    def cosigned(self) -> Path:
        """The checkpoint that this party cosigned last, without its cosignature."""
        return self.trust / "cosigned.txt"

    @property
    def contracts(self) -> Path:
        """The folder of contracts' envelopes."""
        return self.root / "contracts"

    @property
    def recipes(self) -> Path:
        """The folder of recipes' canonical bytes."""
        return self.root / "recipes"

    @property
    def removals(self) -> Path:
        """The folder of erasure requests and what came back."""
        return self.root / "removals"

    @property
    def jobs(self) -> Path:
        """The folder of jobs' folders."""
        return self.root / "jobs"

    @property
    def images(self) -> Path:
        """The folder of decoded images, a folder for each recipe's image space; removing it costs time only."""
        return self.root / "images"

    @property
    def flower(self) -> Path:
        """The Flower node's own folder."""
        return self.root / "flower"

    @property
    def logs(self) -> Path:
        """The folder of the children's logs."""
        return self.root / "logs"

    @property
    def state(self) -> Path:
        """The SQLite database."""
        return self.root / "state.db"

    @property
    def erased(self) -> Path:
        """Keyed hashes of erased records, one a line."""
        return self.root / "erased.txt"

    @property
    def journal(self) -> Path:
        """The journal's file, one entry a line."""
        return self.root / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """The file that the daemon holds locked."""
        return self.root / "up.lock"

    @property
    def children(self) -> Path:
        """The note of the daemon's running children."""
        return self.root / "up.children"

    def folders(self) -> tuple[Path, ...]:
        """Every folder that a home has, private ones first."""
        return (
            self.keys, self.trust, self.contracts, self.recipes, self.removals, self.jobs, self.flower, self.logs,
        )  # fmt: skip
