"""The tables of removals: their steps, what is recalled, who is told, what is remembered of the removed."""

from sqlalchemy import (
    Column,
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

removal_trouble = Table(
    "removal_trouble",
    metadata,
    Column("request", String, ForeignKey("removal.request"), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("line", Text, nullable=False),
    Column("at", String, nullable=False),
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
