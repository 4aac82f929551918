"""The tables of the log and its bodies. Envelopes are stored as the bytes signed."""

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, MetaData, PrimaryKeyConstraint, String, Table, Text

metadata = MetaData()

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
