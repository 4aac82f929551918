"""Found a home: an invite in, a home folder out, whole or not at all.

Everything is made in a folder beside the home and moved there in one step at the end. That folder is kept while the
coordinator has not approved or cannot be reached, for the same command to go on with the same keys; any other failure
leaves nothing behind. What is sent is the token, public keys, a certificate request and a name.
"""

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from severable_client.adapters.config import Config, write_config
from severable_client.adapters.data_folder import count_images
from severable_client.adapters.database import open_database
from severable_client.adapters.files import storage, write_whole
from severable_client.adapters.journal import SqlJournal
from severable_client.adapters.keys import FOLDER, PublicHalves, certificate_term, make_keys, read_halves
from severable_client.adapters.signing import own_signer
from severable_client.errors import AnswerError, HomeError, NotApprovedError, UnreachableError
from severable_client.exchange import Application, Enrolment, Membership
from severable_client.home import Layout
from severable_client.invite import Invite
from severable_client.joining import Wishes, require_member, require_ready
from severable_client.ports import JournalEntry
from severable_trust.digest import Digest
from severable_trust.keys import PublicKey

Pause = Callable[[PublicHalves], bool]  # told that the operator has not approved yet; whether to ask once more


def join(
    invite: Invite, wishes: Wishes, enrol: Callable[[Invite], Enrolment], at: datetime, pause: Pause = lambda _: False
) -> Config:
    """Make the home and return its configuration.

    Args:
        invite: parsed, not yet checked against time or fingerprint.
        wishes: what the owner decides.
        enrol: gives the coordinator's enrolment service of an invite.
        at: now (UTC).
        pause: waits a little while the operator has not approved, and says whether to ask again.

    Raises:
        HomeError: the home exists already.
        InviteError: expired, another fingerprint, or a legal name of the wrong form.
        DataFolderError: the data folder cannot be used.
        NotApprovedError: the operator has not approved, and `pause` would not wait any longer.
        ExchangeError: the coordinator cannot be reached, refuses, or its answer does not hold.
        StorageError: the disk.
    """
    _require_new(wishes.home)
    staging = wishes.home.parent / f".{wishes.home.name}-joining-{Digest.of(invite.token.encode()).hex[:12]}"
    if not staging.is_dir():
        require_ready(invite, wishes, at)
    count_images(wishes.data)
    try:
        layout = Layout(staging)
        halves = _halves(layout, invite.party, wishes.statement_public)
        application = _application(invite, wishes, halves)
        membership = _apply(enrol(invite), application, halves, pause)
        config = _fill(layout, invite, wishes, application, membership)
        _begin_journal(layout, application, at)
        with storage(f"{wishes.home} cannot be made"):
            staging.rename(wishes.home)
    except (NotApprovedError, UnreachableError, KeyboardInterrupt):
        raise  # the keys stay, for the same command to go on with
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return config


def _require_new(home: Path) -> None:
    if (home / "config.yaml").exists():
        raise HomeError(f"{home} has joined already; give another --home, or remove that folder to start over")
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise HomeError(f"{home} is in use for something else; give another --home")


def _application(invite: Invite, wishes: Wishes, halves: PublicHalves) -> Application:
    return Application(
        token=invite.token,
        certificate_request_pem=halves.certificate_request_pem,
        statement_key_pem=halves.statement_pem,
        node_key=halves.node_line,
        legal_name=wishes.legal_name,
        witness_key=halves.witness_vkey,
    )


def _fill(layout: Layout, invite: Invite, wishes: Wishes, application: Application, membership: Membership) -> Config:
    require_member(membership, invite, application)
    write_whole(layout.authority, invite.authority_pem)
    write_whole(layout.tls_certificate, membership.certificate_pem)
    write_whole(layout.trust_root, membership.trust_root)
    write_whole(layout.roster, membership.roster)
    _require_own_certificate(layout)
    own_signer(layout, wishes.statement_key)  # a key held elsewhere must sign before the home is founded on it
    config = Config(
        party=membership.party,
        legal_name=wishes.legal_name,
        exchange=membership.exchange_address,
        fleet=membership.fleet_address,
        data=str(wishes.data.absolute()),
        statement_key=wishes.statement_key,
    )
    with storage(f"{layout.config} cannot be written"):
        write_config(layout.config, config)
    return config


def _halves(layout: Layout, party: str, statement: PublicKey | None) -> PublicHalves:
    """The keys of an application that was begun before, or new ones."""
    if layout.node_public.is_file():
        return read_halves(layout, party)
    shutil.rmtree(layout.root, ignore_errors=True)
    with storage(f"{layout.root} cannot be filled"):
        layout.root.mkdir(parents=True, mode=FOLDER)
        for folder in layout.folders():
            folder.mkdir(mode=FOLDER)
    return make_keys(layout, party, statement)


def _apply(enrolment: Enrolment, application: Application, halves: PublicHalves, pause: Pause) -> Membership:
    while (membership := enrolment.join(application)) is None:
        if not pause(halves):
            raise NotApprovedError(
                "the coordinator has not approved this party yet; run the same command again, it goes on from here"
            )
    return membership


def _require_own_certificate(layout: Layout) -> None:
    try:
        certificate_term(layout)
    except HomeError as error:
        raise AnswerError("the certificate that came back is not that of the key sent") from error


def _begin_journal(layout: Layout, application: Application, at: datetime) -> None:
    sent = (
        application.certificate_request_pem,
        application.statement_key_pem,
        application.node_key,
        application.legal_name,
    )
    engine = open_database(layout.state)
    SqlJournal(engine, layout.journal).note(
        JournalEntry(at=at, what="public keys, legal name", subject="joining", bytes=sum(map(len, sent)))
    )
    engine.dispose()  # the folder is about to be moved
