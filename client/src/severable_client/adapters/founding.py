"""Found a home: an invite in, a home folder out, whole or not at all.

Everything is made in a folder beside the home and moved there in one step at the end, so a failed join leaves nothing
behind. Private keys are made here and stay; what is sent is the token, public keys, a certificate request and a name.
"""

import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from severable_client.adapters.config import Config, write_config
from severable_client.adapters.data_folder import count_images
from severable_client.adapters.database import open_database
from severable_client.adapters.files import storage, write_whole
from severable_client.adapters.keys import FOLDER, certificate_term, make_keys
from severable_client.adapters.sql import SqlJournal
from severable_client.errors import AnswerError, HomeError
from severable_client.exchange import Application, Enrolment
from severable_client.home import Layout
from severable_client.invite import Invite
from severable_client.joining import Wishes, require_member, require_ready
from severable_client.ports import JournalEntry


def join(invite: Invite, wishes: Wishes, enrol: Callable[[Invite], Enrolment], at: datetime) -> Config:
    """Make the home and return its configuration.

    Args:
        invite: parsed, not yet checked against time or fingerprint.
        wishes: what the owner decides.
        enrol: gives the coordinator's enrolment service of an invite.
        at: now (UTC).

    Raises:
        HomeError: the home exists already.
        InviteError: expired, another fingerprint, or a legal name of the wrong form.
        DataFolderError: the data folder cannot be used.
        ExchangeError: the coordinator cannot be reached, refuses, or its answer does not hold.
        StorageError: the disk.
    """
    _require_new(wishes.home)
    require_ready(invite, wishes, at)
    count_images(wishes.data)
    with storage(f"{wishes.home} cannot be made"):
        wishes.home.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{wishes.home.name}-joining-", dir=wishes.home.parent))
    try:
        config = _fill(Layout(staging), invite, wishes, enrol(invite), at)
        with storage(f"{wishes.home} cannot be made"):
            staging.rename(wishes.home)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return config


def _require_new(home: Path) -> None:
    if (home / "config.yaml").exists():
        raise HomeError(f"{home} has joined already; give another --home, or remove that folder to start over")
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise HomeError(f"{home} is in use for something else; give another --home")


def _fill(layout: Layout, invite: Invite, wishes: Wishes, enrolment: Enrolment, at: datetime) -> Config:
    with storage(f"{layout.root} cannot be filled"):
        for folder in layout.folders():
            folder.mkdir(mode=FOLDER)
    halves = make_keys(layout, invite.party)
    application = Application(
        token=invite.token,
        certificate_request_pem=halves.certificate_request_pem,
        statement_key_pem=halves.statement_pem,
        node_key=halves.node_line,
        legal_name=wishes.legal_name,
    )
    membership = enrolment.join(application)
    require_member(membership, invite, application)
    write_whole(layout.authority, invite.authority_pem)
    write_whole(layout.tls_certificate, membership.certificate_pem)
    write_whole(layout.trust_root, membership.trust_root)
    write_whole(layout.roster, membership.roster)
    _require_own_certificate(layout)
    config = Config(
        party=membership.party,
        legal_name=wishes.legal_name,
        exchange=membership.exchange_address,
        fleet=membership.fleet_address,
        data=str(wishes.data.absolute()),
    )
    with storage(f"{layout.config} cannot be written"):
        write_config(layout.config, config)
    _begin_journal(layout, application, at)
    return config


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
    SqlJournal(engine).note(
        JournalEntry(at=at, what="public keys, legal name", subject="joining", bytes=sum(map(len, sent)))
    )
    engine.dispose()  # the folder is about to be moved
