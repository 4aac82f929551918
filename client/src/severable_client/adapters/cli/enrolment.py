"""`join`: an invite in, a home out."""

import time
from pathlib import Path
from typing import Annotated

import typer

from severable_client.adapters.cli.options import DEFAULT_HOME, Format, FormatOption, HomeOption, write_json
from severable_client.adapters.enrolment_grpc import GrpcEnrolment
from severable_client.adapters.files import storage
from severable_client.adapters.founding import join as make_home
from severable_client.adapters.keys import PublicHalves
from severable_client.bootstrap import now
from severable_client.errors import InviteError
from severable_client.invite import MAX_CHARACTERS, PREFIX, Invite, parse_invite
from severable_client.joining import Wishes
from severable_trust.errors import TrustError
from severable_trust.keys import PublicKey

_ASK_EVERY_S = 2.0

EXAMPLE = "Example: severable-client join invite.txt --data ~/images --home ~/severable --legal-name 'Hospital A'"


def join(
    invite: Annotated[str, typer.Argument(help="The invite: a file that holds it, or its text.")],
    data: Annotated[Path, typer.Option("--data", help="Folder of images; one subfolder per class, or flat.")],
    legal_name: Annotated[
        str, typer.Option("--legal-name", help="As contracts shall carry it; default: your id.")
    ] = "",
    wait: Annotated[
        int, typer.Option("--wait", min=0, help="Minutes to wait for the coordinator's operator to approve.")
    ] = 60,
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", help="Refuse unless the coordinator's authority has this SHA-256.")
    ] = "",
    statement_key: Annotated[
        str, typer.Option("--statement-key", help="URI of a statement key in an HSM or key service, as hsm:2?label=a.")
    ] = "",
    statement_public: Annotated[
        Path | None, typer.Option("--statement-public", help="Its public half (PEM), with --statement-key.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    how: FormatOption = Format.TEXT,
) -> None:
    """Join a federation: make keys and a home, and take your place in the roster.

    Private keys are made on this machine and stay on it. Compare the fingerprint that is shown with the one the
    coordinator tells you over another channel, before you sign anything. The coordinator's operator looks at your
    keys and lets you in; until then this command waits, and interrupted it goes on where it stopped.
    """
    asked = _read(invite)
    folder = home.expanduser().absolute()
    if how is Format.TEXT:
        typer.echo(f"joining {asked.coordinator} as {asked.party}")
        typer.echo(f"the coordinator's fingerprint (compare it over another channel): {asked.fingerprint}")
    wishes = Wishes(
        home=folder,
        data=data.expanduser(),
        legal_name=legal_name or asked.party,
        fingerprint=fingerprint or None,
        statement_key=statement_key,
        statement_public=_public(statement_key, statement_public),
    )
    config = make_home(asked, wishes, _enrol, now(), _Patience(wait * 60.0, how))
    if how is Format.JSON:
        write_json({"party": config.party, "home": str(folder), "fingerprint": asked.fingerprint})
        return
    typer.echo(f"joined as {config.party}; home: {folder}")
    typer.echo(f"next: severable-client contract review --home {folder}")


def _public(uri: str, path: Path | None) -> PublicKey | None:
    if bool(uri) != (path is not None):
        raise InviteError("--statement-key and --statement-public go together")
    if path is None:
        return None
    with storage(f"{path} cannot be read"):
        pem = path.read_bytes()
    try:
        return PublicKey.from_pem(pem)
    except TrustError as error:
        raise InviteError(f"--statement-public {path}: {error}") from error


class _Patience:
    """Waits for the operator, and says once what for."""

    def __init__(self, seconds: float, how: Format) -> None:
        self._until = time.monotonic() + seconds
        self._how = how
        self._said = False

    def __call__(self, halves: PublicHalves) -> bool:
        if not self._said and self._how is Format.TEXT:
            key_id = PublicKey.from_pem(halves.statement_pem).key_id
            typer.echo("waiting for the coordinator to approve; tell its operator your statement key over the phone:")
            typer.echo(f"  {key_id}")
        self._said = True
        if time.monotonic() + _ASK_EVERY_S > self._until:
            return False
        time.sleep(_ASK_EVERY_S)
        return True


def _read(given: str) -> Invite:
    if given.strip().startswith(PREFIX):
        return parse_invite(given)
    path = Path(given).expanduser()
    if not path.is_file():
        raise InviteError(
            f"there is no invite file {given[:120]!r}; give the file, or the text beginning with {PREFIX!r}"
        )
    with storage(f"{path} cannot be read"), path.open("rb") as stream:
        return parse_invite(stream.read(MAX_CHARACTERS + 1).decode("utf-8", "replace"))


def _enrol(invite: Invite) -> GrpcEnrolment:
    return GrpcEnrolment(invite.coordinator, invite.authority_pem)
