"""The tables. Digests are stored as "sha256:<hex>", times as RFC 3339 text in UTC, envelopes as the bytes signed.

Those of removals and of the log are in removal_tables.py and log_tables.py.
"""

from sqlalchemy import Boolean, Column, Float, Integer, LargeBinary, MetaData, String, Table, Text

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
