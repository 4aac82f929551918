"""PartyStore on SQL."""

from datetime import datetime

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from severable_coordinator.adapters.sql.database import Database
from severable_coordinator.adapters.sql.tables import invite, party, peer
from severable_coordinator.errors import ConflictError, NotFoundError, RefusedError
from severable_coordinator.ports import InviteRecord, PartyRecord
from severable_trust.keys import PublicKey
from severable_trust.roster import PartyStatus


class SqlPartyStore:
    """Parties and invites in the database."""

    def __init__(self, database: Database) -> None:
        """Work on a database."""
        self._database = database

    def add_invite(self, record: InviteRecord) -> None:
        """See PartyStore."""
        with self._database.write() as connection:
            connection.execute(delete(invite).where(invite.c.party == record.party))
            connection.execute(
                insert(invite).values(
                    party=record.party, token_hash=record.token_hash, expires=record.expires.isoformat()
                )
            )

    def take_invite(self, token_hash: str) -> InviteRecord:
        """See PartyStore."""
        with self._database.write() as connection:
            row = connection.execute(select(invite).where(invite.c.token_hash == token_hash)).one_or_none()
            if row is None:
                raise RefusedError("this invite was used already or never issued; ask the coordinator for a new one")
            connection.execute(delete(invite).where(invite.c.token_hash == token_hash))
        return InviteRecord(token_hash=row.token_hash, party=row.party, expires=datetime.fromisoformat(row.expires))

    def add_party(self, record: PartyRecord) -> None:
        """See PartyStore."""
        values = {
            "id": record.id,
            "legal_name": record.legal_name,
            "statement_key": record.statement_key.pem,
            "node_key": record.node_key,
            "status": record.status,
        }
        try:
            with self._database.write() as connection:
                connection.execute(insert(party).values(values))
        except IntegrityError as error:
            raise ConflictError(f"party {record.id}: the name or one of its keys is in the roster already") from error

    def party(self, party_id: str) -> PartyRecord:
        """See PartyStore."""
        with self._database.read() as connection:
            row = connection.execute(select(party).where(party.c.id == party_id)).one_or_none()
        if row is None:
            raise NotFoundError(f"no party {party_id!r}; `party list` shows who has joined")
        return _party(row)

    def revoke_party(self, party_id: str) -> None:
        """See PartyStore."""
        self.party(party_id)
        with self._database.write() as connection:
            connection.execute(update(party).where(party.c.id == party_id).values(status=PartyStatus.REVOKED.value))

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


def _party(row: Row[tuple[str, ...]]) -> PartyRecord:
    return PartyRecord(
        id=row.id,
        legal_name=row.legal_name,
        statement_key=PublicKey.from_pem(row.statement_key),
        node_key=row.node_key,
        status=row.status,
    )
