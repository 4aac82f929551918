"""The tables. Digests are stored as "sha256:<hex>", times as RFC 3339 text in UTC, envelopes as the bytes signed."""

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

party = Table(
    "party",
    metadata,
    Column("id", String, primary_key=True),
    Column("legal_name", Text, nullable=False),
    Column("statement_key", Text, nullable=False, unique=True),
    Column("node_key", Text, nullable=False, unique=True),
    Column("status", String, nullable=False),
    Column("former_keys", Text, nullable=False),  # PEM blocks, newest first
    Column("witness", Text, nullable=False),
)

peer = Table(
    "peer",
    metadata,
    Column("id", String, primary_key=True),
    Column("statement_key", Text, nullable=False),
)

invite = Table(
    "invite",
    metadata,
    Column("party", String, primary_key=True),
    Column("token_hash", String, nullable=False, unique=True),
    Column("expires", String, nullable=False),
    Column("approved", Boolean, nullable=False),
)

application = Table(
    "application",
    metadata,
    Column("party", String, primary_key=True),
    Column("token_hash", String, nullable=False, unique=True),
    Column("request", LargeBinary, nullable=False),
    Column("statement_key", Text, nullable=False),
    Column("node_key", Text, nullable=False),
    Column("legal_name", Text, nullable=False),
    Column("witness", Text, nullable=False),
    Column("received", String, nullable=False),
    Column("certificate", LargeBinary, nullable=False),
    Column("approved", String, nullable=False),  # "" while it waits
)

recipe = Table(
    "recipe",
    metadata,
    Column("digest", String, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("config", LargeBinary, nullable=False),
    Column("tensors", Text, nullable=False),
)

contract = Table(
    "contract",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("party", String, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("state", String, nullable=False),
)

task = Table(
    "task",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("batch", String, nullable=False, index=True),
    Column("party", String, nullable=False),
    Column("contract", String, nullable=False),
    Column("recipe", String, nullable=False),
    Column("nonce", String, nullable=False, unique=True),
    Column("sub_shard", Integer),  # NULL where the contract does not divide the party's records
    Column("state", String, nullable=False),
    Column("step", Integer, nullable=False, default=0),
    Column("steps", Integer, nullable=False, default=0),
    Column("detail", Text, nullable=False, default=""),
)

upload = Table(
    "upload",
    metadata,
    Column("id", String, primary_key=True),
    Column("party", String, nullable=False),
    Column("task", String, nullable=False),
    Column("claim", LargeBinary, nullable=False),
    Column("state", String, nullable=False),
    Column("detail", Text, nullable=False),
)

shard = Table(
    "shard",
    metadata,
    Column("id", String, primary_key=True),
    Column("party", String, nullable=False),
    Column("contract", String, nullable=False),
    Column("recipe", String, nullable=False),
    Column("claim", LargeBinary, nullable=False),
    Column("admitted", String, nullable=False),
    Column("state", String, nullable=False),
)

composite = Table(
    "composite",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False),
    Column("group", String, nullable=False),
    Column("manifest", LargeBinary, nullable=False),
    Column("members", Text, nullable=False),
    Column("router", String, nullable=False),
    Column("created", String, nullable=False),
    Column("state", String, nullable=False),
)

removal = Table(
    "removal",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("request", String, nullable=False, unique=True),
    Column("party", String, nullable=False),
    Column("contract", String, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("acknowledgement", LargeBinary, nullable=False),
    Column("state", String, nullable=False),
    Column("bundle", LargeBinary, nullable=False),
    Column("denial", LargeBinary, nullable=False),
)

removal_step = Table(
    "removal_step",
    metadata,
    Column("request", String, ForeignKey("removal.request"), nullable=False),
    Column("step", String, nullable=False),
    Column("facts", LargeBinary, nullable=False),
    PrimaryKeyConstraint("request", "step"),
)

recipient = Table(
    "recipient",
    metadata,
    Column("id", String, primary_key=True),
    Column("statement_key", Text, nullable=False, unique=True),
)

export = Table(
    "export",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("recipient", String, nullable=False),
    Column("artifact", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("group", String, nullable=False),  # "" for a handover of shards
    Column("shards", Text, nullable=False),
    Column("at", String, nullable=False),
)

recall = Table(
    "recall",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("removal", String, nullable=False, index=True),
    Column("recipient", String, nullable=False),
    Column("artifact", String, nullable=False),
    Column("recalled", String, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    UniqueConstraint("removal", "recipient", "artifact", "recalled"),
)

removal_trouble = Table(
    "removal_trouble",
    metadata,
    Column("request", String, ForeignKey("removal.request"), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("line", Text, nullable=False),
    Column("at", String, nullable=False),
)

notice = Table(
    "notice",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("event", String, nullable=False),
    Column("party", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("target", Text, nullable=False),
    Column("made", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("statement", LargeBinary, nullable=False),
    Column("state", String, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("detail", Text, nullable=False),
)

ledger = Table(
    "ledger",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("draw", Integer, nullable=False, index=True),
    Column("composite", String, nullable=False),
    Column("group", String, nullable=False),
    Column("shard", String, nullable=False, index=True),
    Column("party", String, nullable=False),
    Column("contract", String, nullable=False),
    Column("images", Integer, nullable=False),
    Column("credit", Float, nullable=False),
    Column("drawn", String, nullable=False),
)

ledger_total = Table(
    "ledger_total",
    metadata,
    Column("contract", String, primary_key=True),
    Column("party", String, nullable=False),
    Column("images", Integer, nullable=False),
    Column("credit", Float, nullable=False),
)

log_entry = Table(
    "log_entry",
    metadata,
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("kind", String, nullable=False, index=True),
    Column("statement", LargeBinary, nullable=False, unique=True),  # SHA-256: half the index that its text would take
)

log_node = Table(
    "log_node",
    metadata,
    Column("level", Integer, nullable=False),
    Column("place", Integer, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("level", "place"),
    sqlite_with_rowid=False,  # the key finds the hash itself
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("size", Integer, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
)

cosignature = Table(
    "cosignature",
    metadata,
    Column("size", Integer, ForeignKey("checkpoint.size"), nullable=False),
    Column("cosigner", String, nullable=False),
    Column("line", Text, nullable=False),
    PrimaryKeyConstraint("size", "cosigner"),
)

body = Table(
    "body",
    metadata,
    Column("place", Integer, ForeignKey("log_entry.place"), primary_key=True, autoincrement=False),
    Column("envelope", LargeBinary, nullable=False),
)

weight_sketch = Table(
    "weight_sketch",
    metadata,
    Column("shard", String, primary_key=True),
    Column("key", String, nullable=False),
    Column("bits", LargeBinary, nullable=False),
)

keys_backup = Table(
    "keys_backup",
    metadata,
    Column("id", String, primary_key=True),  # digest of the file
    Column("taken", String, nullable=False),
    Column("data_keys", Text, nullable=False),  # ids of the data keys in it, as a JSON list
    Column("destroyed", String, nullable=False),  # "" while it is not known to be
)
