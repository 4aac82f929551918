"""Speaks to SuperLink's Control API on loopback: nodes, runs.

The same calls as the `flwr` command line, without a process and a second of imports for each. SuperLink has no account
authentication, so its Control API must stay on loopback (adapters/superlink.py). Touches flwr internals, which
tests/coordinator/test_flower_internals.py watches.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import FlowerError
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from google.protobuf.message import Error as ProtobufError

from severable_coordinator.errors import EngineError

RunConfig = Mapping[str, bool | float | int | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """A registered node: its public key as an OpenSSH line, and "registered", "online", "offline" or "unregistered"."""

    node_id: int
    public_key: str
    name: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """A run: "pending", "starting", "running" or "finished"; when finished, how, and one line why."""

    run_id: int
    status: str
    outcome: str  # "", "completed", "failed" or "stopped"
    detail: str

    @property
    def finished(self) -> bool:
        """Whether the run is over."""
        return self.status == "finished"


def openssh_line(public_key: bytes | str) -> str:
    """Return the one form in which this side compares node keys: "ecdsa-sha2-nistp384 AAAA...", without a comment.

    Args:
        public_key: An OpenSSH public key line or a PEM public key.

    Raises:
        EngineError: it is neither, or not ECDSA on a NIST curve, which is all that Flower takes.
    """
    data = public_key.encode() if isinstance(public_key, str) else public_key
    load = serialization.load_pem_public_key if b"-----BEGIN" in data else serialization.load_ssh_public_key
    try:
        key = load(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise EngineError(
            "node key is not a public key in OpenSSH or PEM form; make one with ssh-keygen -t ecdsa"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not key.curve.name.startswith("secp"):
        raise EngineError("node key must be ECDSA on a NIST curve; make one with ssh-keygen -t ecdsa -b 384")
    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return " ".join(line.decode().split()[:2])


def _pem(openssh: str) -> bytes:
    key = serialization.load_ssh_public_key(openssh.encode())
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


class ControlApi:
    """The Control API at one address.

    Args:
        address: "127.0.0.1:port".
        ca: The certificate of the authority to trust, and no other (PEM).
    """

    def __init__(self, address: str, ca: Path) -> None:
        self._address = address
        self._ca = ca

    def register_node(self, public_key: str, name: str) -> int:
        """Let a node in by its public key and return Flower's id for it; a key known already keeps its id."""
        line = openssh_line(public_key)
        for node in self.nodes():
            if node.public_key == line and node.status != "unregistered":
                return node.node_id
        with self._connection(f"register node {name}") as flower:
            return flower.RegisterNode(RegisterNodeRequest(public_key=_pem(line), name=name)).node_id

    def unregister_node(self, public_key: str) -> None:
        """Shut a node out; a key not known changes nothing."""
        line = openssh_line(public_key)
        known = [node for node in self.nodes() if node.public_key == line and node.status != "unregistered"]
        for node in known:
            with self._connection("unregister node") as flower:
                flower.UnregisterNode(UnregisterNodeRequest(node_id=node.node_id))

    def nodes(self) -> list[NodeStatus]:
        """Every registered node."""
        with self._connection("list nodes") as flower:
            infos = flower.ListNodes(ListNodesRequest()).nodes_info
        return [
            NodeStatus(
                node_id=info.node_id, public_key=openssh_line(info.public_key), name=info.name, status=info.status
            )
            for info in infos
        ]

    def start_run(self, bundle: bytes, run_config: RunConfig) -> int:
        """Start a run of a bundle and return its id."""
        fab = Fab(hashlib.sha256(bundle).hexdigest(), bundle, {})
        request = StartRunRequest(fab=fab_to_proto(fab), override_config=user_config_to_proto(dict(run_config)))
        with self._connection("start a run") as flower:
            answer = flower.StartRun(request)
        if not answer.HasField("run_id"):
            raise EngineError(f"SuperLink at {self._address} started no run; its log says why")
        return answer.run_id

    def run_status(self, run_id: int) -> RunStatus:
        """Return where a run stands. EngineError when there is no such run."""
        with self._connection(f"look up run {run_id}") as flower:
            run = flower.ListRuns(ListRunsRequest(run_id=run_id)).run_dict[run_id]
        state = run.status
        return RunStatus(run_id=run_id, status=state.status, outcome=state.sub_status, detail=state.details)

    def stop_run(self, run_id: int) -> None:
        """Stop a run. Jobs at the owners go on: they belong to the owners' daemons."""
        with self._connection(f"stop run {run_id}") as flower:
            flower.StopRun(StopRunRequest(run_id=run_id))

    @contextmanager
    def _connection(self, doing: str) -> Iterator[ControlHttpClient]:
        """Open the API for one call; every way it can fail becomes one line."""
        try:
            with ControlHttpClient.from_server_address(
                self._address,
                insecure=False,
                root_certificates=self._ca.read_bytes(),
                interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
            ) as flower:
                yield flower
        except httpx.HTTPStatusError as error:
            raise EngineError(f"SuperLink would not {doing}: {_reason(error.response)}") from error
        except (httpx.TransportError, OSError) as error:
            raise EngineError(f"cannot {doing}: no SuperLink at {self._address} ({error}); start it first") from error
        except (ProtobufError, ValueError) as error:
            raise EngineError(f"cannot {doing}: SuperLink at {self._address} speaks another flwr version") from error


def _reason(response: httpx.Response) -> str:
    told = FlowerError.from_json(response.text)
    return told.message if told else f"HTTP {response.status_code}"
