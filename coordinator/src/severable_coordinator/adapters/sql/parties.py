"""PartyStore on SQL."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.tables import application, invite, party, peer
from severable_coordinator.errors import ConflictError, NotFoundError, RefusedError
from severable_coordinator.membership import ApplicationRecord, InviteRecord, JoinFacts, PartyRecord
from severable_trust.keys import PublicKey

_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----\n", re.DOTALL)


class SqlPartyStore:
    """Parties, invites and applications in the database."""

    def __init__(self, database: Database) -> None:
        """Work on a database."""
        self._database = database

    def add_invite(self, record: InviteRecord) -> None:
        """See PartyStore."""
        values = {
            "party": record.party,
            "token_hash": record.token_hash,
            "expires": record.expires.isoformat(),
            "approved": record.approved,
        }
        with self._database.write() as connection:
            connection.execute(delete(invite).where(invite.c.party == record.party))
            connection.execute(insert(invite).values(values))

    def take_invite(self, token_hash: str) -> InviteRecord:
        """See PartyStore."""
        with self._database.write() as connection:
            row = connection.execute(select(invite).where(invite.c.token_hash == token_hash)).one_or_none()
            if row is None:
                raise RefusedError("this invite was used already or never issued; ask the coordinator for a new one")
            connection.execute(delete(invite).where(invite.c.token_hash == token_hash))
        return InviteRecord(
            token_hash=row.token_hash,
            party=row.party,
            expires=datetime.fromisoformat(row.expires),
            approved=row.approved,
        )

    def drop_invite(self, party_id: str) -> None:
        """See PartyStore."""
        with self._database.write() as connection:
            for table in (invite, application):
                connection.execute(delete(table).where(table.c.party == party_id))

    def put_application(self, record: ApplicationRecord) -> None:
        """See PartyStore."""
        with self._database.write() as connection:
            _put_application(connection, record)

    def applications(self) -> list[ApplicationRecord]:
        """See PartyStore."""
        with self._database.read() as connection:
            return [_application(row) for row in connection.execute(select(application).order_by(application.c.party))]

    def drop_application(self, party_id: str) -> None:
        """See PartyStore."""
        with self._database.write() as connection:
            if not connection.execute(delete(application).where(application.c.party == party_id)).rowcount:
                raise NotFoundError(f"nobody waits to join as {party_id!r}; `party list` shows who does")

    def admit(self, record: ApplicationRecord, member: PartyRecord) -> None:
        """See PartyStore."""
        with _unique(member), self._database.write() as connection:
            _put_application(connection, record)
            connection.execute(insert(party).values(_values(member)))

    def add_party(self, record: PartyRecord) -> None:
        """See PartyStore."""
        with _unique(record), self._database.write() as connection:
            connection.execute(insert(party).values(_values(record)))

    def put_party(self, record: PartyRecord) -> None:
        """See PartyStore."""
        self.party(record.id)
        with _unique(record), self._database.write() as connection:
            connection.execute(update(party).where(party.c.id == record.id).values(_values(record)))

    def party(self, party_id: str) -> PartyRecord:
        """See PartyStore."""
        with self._database.read() as connection:
            row = connection.execute(select(party).where(party.c.id == party_id)).one_or_none()
        if row is None:
            raise NotFoundError(f"no party {party_id!r}; `party list` shows who has joined")
        return _party(row)

    def parties(self) -> list[PartyRecord]:
        """See PartyStore."""
        with self._database.read() as connection:
            return [_party(row) for row in connection.execute(select(party).order_by(party.c.id))]

    def add_peer(self, peer_id: str, key: PublicKey) -> None:
        """See PartyStore."""
        with self._database.write() as connection:
            connection.execute(delete(peer).where(peer.c.id == peer_id))
            connection.execute(insert(peer).values(id=peer_id, statement_key=key.pem))

    def peer_keys(self) -> list[PublicKey]:
        """See PartyStore."""
        with self._database.read() as connection:
            return [PublicKey.from_pem(row.statement_key) for row in connection.execute(select(peer))]


@contextmanager
def _unique(record: PartyRecord) -> Iterator[None]:
    """Say in one line that a name or key of a party is taken."""
    try:
        yield
    except IntegrityError as error:
        raise ConflictError(f"party {record.id}: the name or one of its keys is in the roster already") from error


def _put_application(connection: Connection, record: ApplicationRecord) -> None:
    connection.execute(delete(application).where(application.c.party == record.party))
    values = {
        "party": record.party,
        "token_hash": record.token_hash,
        "request": record.facts.request_pem,
        "statement_key": record.facts.statement_key.pem,
        "node_key": record.facts.node_key,
        "legal_name": record.facts.legal_name,
        "witness": record.facts.witness,
        "received": record.received.isoformat(),
        "certificate": record.certificate,
        "approved": record.approved.isoformat() if record.approved else "",
    }
    connection.execute(insert(application).values(values))


def _application(row: Row[Any]) -> ApplicationRecord:
    return ApplicationRecord(
        party=row.party,
        token_hash=row.token_hash,
        facts=JoinFacts(
            request_pem=row.request,
            statement_key=PublicKey.from_pem(row.statement_key),
            node_key=row.node_key,
            legal_name=row.legal_name,
            witness=row.witness,
        ),
        received=datetime.fromisoformat(row.received),
        certificate=row.certificate,
        approved=datetime.fromisoformat(row.approved) if row.approved else None,
    )


def _values(record: PartyRecord) -> dict[str, str]:
    return {
        "id": record.id,
        "legal_name": record.legal_name,
        "statement_key": record.statement_key.pem,
        "node_key": record.node_key,
        "status": record.status,
        "former_keys": "".join(key.pem for key in record.former_keys),
        "witness": record.witness,
    }


def _party(row: Row[Any]) -> PartyRecord:
    return PartyRecord(
        id=row.id,
        legal_name=row.legal_name,
        statement_key=PublicKey.from_pem(row.statement_key),
        node_key=row.node_key,
        status=row.status,
        former_keys=tuple(PublicKey.from_pem(pem) for pem in _PEM.findall(row.former_keys)),
        witness=row.witness,
    )
