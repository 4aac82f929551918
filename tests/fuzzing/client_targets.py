"""The parsers at the owner's side: invite, recipe, and what the coordinator answers over gRPC."""

import atexit
import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
from client.samples import NOON, Federation, make_home
from diffusion.recipes import tiny
from fuzzing.law import Target
from fuzzing.wire import NoMessageError, seeds, sent
from google.protobuf.message import Message

from severable_client.adapters.exchange_grpc import GrpcExchange
from severable_client.errors import ClientError, JournalError
from severable_client.exchange import FileChunk
from severable_client.home import Layout
from severable_client.invite import PREFIX, Invite, parse_invite
from severable_client.journal import line_of, link_after, parse_lines
from severable_client.ports import JournalEntry, JournalKind
from severable_diffusion.errors import RecipeError
from severable_diffusion.recipe import Recipe
from severable_protos.v1 import exchange_pb2 as pb
from severable_trust.canonical import decode, encode
from severable_trust.errors import TrustError


@cache
def federation() -> Federation:
    return Federation.make()


def _invite(data: bytes) -> Invite:
    """An invite's text; JSON is wrapped as an invite first. What it says is read too, as `join` does."""
    text = PREFIX + base64.urlsafe_b64encode(data).decode().rstrip("=") if data[:1] == b"{" else data.decode("latin-1")
    invite = parse_invite(text)
    assert len(invite.fingerprint) == 64
    return invite


def _invites() -> tuple[bytes, ...]:
    text = federation().invite_text()
    coded = text.removeprefix(PREFIX)
    return (text.encode(), base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4)))


def _recipe(data: bytes) -> Recipe:
    return _survives(Recipe.from_dict(decode(data, "recipe")))


def _recipe_file(data: bytes) -> Recipe:
    """As the coordinator reads a file: JSON in any spelling, with numbers of any length."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RecipeError("(whole)", "is not JSON") from error
    return _survives(Recipe.from_dict(value))


def _survives(recipe: Recipe) -> Recipe:
    """A recipe may leave defaults out: not its bytes but its value must come back."""
    assert Recipe.from_dict(decode(encode(recipe.to_dict()), "recipe")) == recipe
    return recipe


class _Answers(grpc.GenericRpcHandler):
    """A coordinator that answers every call with the same bytes, whatever they are."""

    def __init__(self) -> None:
        self.reply = b""

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        if str(details.method).endswith("/SendChunks"):
            return grpc.stream_unary_rpc_method_handler(self._after_a_stream)
        return grpc.unary_unary_rpc_method_handler(self._at_once)

    def _at_once(self, _request: bytes, _context: grpc.ServicerContext) -> bytes:
        return self.reply

    def _after_a_stream(self, requests: Iterator[bytes], _context: grpc.ServicerContext) -> bytes:
        for _ in requests:
            pass
        return self.reply


@cache
def _connection() -> tuple[_Answers, GrpcExchange]:
    """A server and a client over mutual TLS on loopback, for as long as this process lives."""
    answers, server = _Answers(), grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((answers,))
    authority = federation().authority
    credentials = grpc.ssl_server_credentials([authority.server()], authority.pem, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    with TemporaryDirectory() as home:
        exchange = GrpcExchange(f"127.0.0.1:{port}", Layout(make_home(federation(), Path(home))))
    atexit.register(server.stop, None)
    atexit.register(exchange.__exit__)
    return answers, exchange


CHUNK = FileChunk(name="config.json", offset=0, data=b"{}")

# The message that comes back, and the call that gets it.
CALLS: tuple[tuple[type[Message], Callable[[GrpcExchange], object]], ...] = (
    (pb.ListContractsReply, lambda exchange: exchange.contracts()),
    (pb.GetCheckpointReply, lambda exchange: exchange.log_view(0)),
    (pb.SignContractReply, lambda exchange: exchange.sign_contract(b"")),
    (pb.RequestErasureReply, lambda exchange: exchange.request_erasure(b"")),
    (pb.GetReceiptReply, lambda exchange: exchange.receipt("sha256:00")),
    (pb.OpenUploadReply, lambda exchange: exchange.open_upload(b"")),
    (pb.FinishUploadReply, lambda exchange: exchange.finish("upload")),
    (pb.RenewCertificateReply, lambda exchange: exchange.renew_certificate(b"")),
    (pb.RotateKeyReply, lambda exchange: exchange.rotate_key(b"")),
    (pb.CosignCheckpointReply, lambda exchange: exchange.cosign("")),
    (pb.SendChunksReply, lambda exchange: exchange.send("upload", iter((CHUNK,)))),
)


def _reply(data: bytes) -> object:
    """What the owner's side makes of an answer of these bytes; see `fuzzing.wire` for their form."""
    which, body = sent(data, [message for message, _ in CALLS])
    answers, exchange = _connection()
    answers.reply = body
    return CALLS[which][1](exchange)


def _replies() -> tuple[bytes, ...]:
    offer = federation().offer().to_bytes()
    offsets = [pb.FileOffset(name="model.safetensors", received=2**40), pb.FileOffset(name="", received=-1)]
    messages: tuple[tuple[int, Message], ...] = (
        (
            0,
            pb.ListContractsReply(contracts=[pb.ContractItem(id="sha256:00", envelope=offer, state="x")], roster=offer),
        ),
        (1, pb.GetCheckpointReply(note="log\n", consistency=[b"\x00" * 32], roster=offer)),
        (4, pb.GetReceiptReply(status="fulfilled", bundle=offer)),
        (5, pb.OpenUploadReply(upload="u", offsets=offsets, chunk_bytes=-5, finished=False)),
        (6, pb.FinishUploadReply(admitted=True, shard="sha256:00", reason="none")),
    )
    return tuple(seed for which, message in messages for seed in seeds(which, message))


def _journals() -> tuple[bytes, ...]:
    first = link_after(JournalEntry(at=NOON, what="signed contract", subject="sha256:00", bytes=2048), None)
    decided = JournalEntry(at=NOON, what="recipe approved", subject="é", bytes=0, kind=JournalKind.DECIDED)
    return (line_of(first), line_of(first) + line_of(link_after(decided, first)))


INVITE = Target(name="invite", read=_invite, errors=(ClientError,), seeds=_invites)
REPLIES = Target(name="exchange-replies", read=_reply, errors=(ClientError, NoMessageError), seeds=_replies)
RECIPE = Target(
    name="recipe",
    read=_recipe,
    errors=(RecipeError, TrustError),
    seeds=lambda: (encode(tiny().to_dict()),),
)
RECIPE_FILE = Target(
    name="recipe-file",
    read=_recipe_file,
    errors=(RecipeError,),
    seeds=lambda: (tiny().to_bytes(),),
)
JOURNAL = Target(
    name="journal",
    read=lambda data: parse_lines(data, "journal.jsonl"),
    errors=(JournalError,),
    seeds=_journals,
    write=lambda links: b"".join(map(line_of, links)),
)
TARGETS = (INVITE, RECIPE, RECIPE_FILE, REPLIES, JOURNAL)
