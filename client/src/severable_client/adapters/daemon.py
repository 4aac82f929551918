"""The owner's daemon: the Flower node, its executor and the worker, held together until a signal ends all of it."""

import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType

from severable_client.adapters import flower_node
from severable_client.adapters.backlog import Backlog
from severable_client.adapters.flower_node import NodeConfig
from severable_client.adapters.leftovers import Leftovers
from severable_client.adapters.lock import held
from severable_client.adapters.supervisor import Child, Perpetual, end_all
from severable_client.adapters.upkeep import Upkeep
from severable_client.bootstrap import Home

TICK_S = 0.25
LOOPBACK = "127.0.0.1"


class Daemon:
    """Everything that runs for one owner.

    Args:
        home: the opened home.
        say: told every line for people.
    """

    def __init__(self, home: Home, say: Callable[[str], None]) -> None:
        self._home = home
        self._say = say
        self._leftovers = Leftovers(home.layout.children)
        self._over = threading.Event()
        self._up = False

    def run(self) -> None:
        """Run until SIGTERM, SIGINT or SIGHUP; every process that was started has ended on return.

        Raises:
            BusyError: another daemon runs on this home.
            EngineStartError: a child cannot be started at all.
        """
        with held(self._home.layout.lock):
            before = {number: signal.signal(number, self._end) for number in _SIGNALS}
            try:
                self._serve()
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _serve(self) -> None:
        ended = self._leftovers.end_those_of_before()
        if ended:
            self._say(f"ended {ended} processes that an earlier daemon left behind")
        config = self._node_config()
        flower_node.prepare(config)
        children = self._engine(config)
        backlog = Backlog(self._home, self._leftovers, self._say)
        upkeep = Upkeep(self._home, self._say)
        self._say(f"owner {self._home.config.party} is starting; end it with Ctrl-C")
        try:
            upkeep.start()
            while not self._over.is_set():
                self._tend(children, backlog, config.runtime_port)
                self._over.wait(TICK_S)
        finally:
            self._say(f"owner {self._home.config.party} is ending")
            upkeep.stop()
            worker = [backlog.worker] if backlog.worker else []
            end_all([*worker, *(perpetual.child for perpetual in children)])

    def _tend(self, children: list[Perpetual], backlog: Backlog, port: int) -> None:
        for perpetual in children:
            perpetual.tend(time.monotonic())
        backlog.tend()
        if not self._up and all(p.child.running() for p in children) and _listens(port):
            self._up = True
            self._say(f"owner {self._home.config.party} is up")

    def _engine(self, config: NodeConfig) -> list[Perpetual]:
        environment = flower_node.environment(config)
        commands = {
            "supernode": flower_node.supernode_command(config),
            "executor": flower_node.executor_command(config, self._home.layout.root),
        }
        logs = self._home.layout.logs
        children = [
            Child(name, command, environment, logs / f"{name}.log", self._leftovers)
            for name, command in commands.items()
        ]
        return [Perpetual(child, self._say) for child in children]

    def _node_config(self) -> NodeConfig:
        layout = self._home.layout
        return NodeConfig(
            directory=layout.flower,
            superlink=self._home.config.fleet,
            ca=layout.authority,
            private_key=layout.node_key,
            runtime_port=_free_port(),
        )

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._over.set()


_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=0.2):
            return True
    except OSError:
        return False
