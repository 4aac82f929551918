"""The owner's daemon: the Flower node, its executor and the worker, held together until a signal ends all of it.

SIGTERM and SIGINT drain: nothing new is begun, the worker gets `grace_s` to come to a good place, then all is ended; a
second one ends it at once. SIGHUP reads config.yaml again, and a job that waits for disk space is tried at once.
"""

import signal
import socket
import time
from dataclasses import replace
from types import FrameType

from severable_client.adapters import flower_node, reloading
from severable_client.adapters.backlog import Backlog
from severable_client.adapters.daemon_log import DaemonLog
from severable_client.adapters.flower_node import NodeConfig
from severable_client.adapters.leftovers import Leftovers
from severable_client.adapters.lock import held
from severable_client.adapters.service_manager import ServiceManager
from severable_client.adapters.supervisor import Child, Perpetual, end_all
from severable_client.adapters.upkeep import Upkeep
from severable_client.bootstrap import Home
from severable_client.errors import ClientError

TICK_S = 0.25
STATUS_EVERY_S = 2.0
LOOPBACK = "127.0.0.1"


class Daemon:
    """Everything that runs for one owner.

    Args:
        home: the opened home.
        log: told every line.
        manager: told how the daemon is.
    """

    def __init__(self, home: Home, log: DaemonLog, manager: ServiceManager) -> None:
        self._home = home
        self._log = log
        self._manager = manager
        self._leftovers = Leftovers(home.layout.children)
        # Plain flags: a signal may interrupt the very thread that holds an Event's lock, and then could not set it.
        self._over = self._hurry = self._reload = False
        self._up = False
        self._status_s = 0.0

    def run(self) -> None:
        """Run until SIGTERM or SIGINT; every process that was started has ended on return.

        Raises:
            BusyError: another daemon runs on this home.
            EngineStartError: a child cannot be started at all.
        """
        handlers = {signal.SIGTERM: self._end, signal.SIGINT: self._end, signal.SIGHUP: self._ask_to_reload}
        with held(self._home.layout.lock):
            before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
            try:
                self._serve()
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
                self._log.close()

    def _serve(self) -> None:
        ended = self._leftovers.end_those_of_before()
        if ended:
            self._tell("left behind", f"ended {ended} processes that an earlier daemon left behind")
        config = self._node_config()
        flower_node.prepare(config)
        engine = self._engine(config)
        backlog = Backlog(self._home, self._leftovers, self._log.of("worker"))
        upkeep = Upkeep(self._home, self._log.of("upkeep"))
        self._tell("starting", f"owner {self._home.config.party} is starting; end it with Ctrl-C")
        try:
            upkeep.start()
            while not self._over:
                self._tend(engine, backlog, config.runtime_port)
                if self._reload:
                    self._read_config(engine["executor"], backlog)
                if upkeep.running():  # else the watchdog starves, and the service manager starts everything again
                    self._manager.alive()
                time.sleep(TICK_S)
        finally:
            self._drain(engine, backlog, upkeep)

    def _tend(self, engine: dict[str, Perpetual], backlog: Backlog, port: int) -> None:
        for perpetual in engine.values():
            perpetual.tend(time.monotonic())
        backlog.tend()
        if not self._up and all(p.child.running() for p in engine.values()) and _listens(port):
            self._up = True
            self._tell("up", f"owner {self._home.config.party} is up")
            self._manager.ready()
        if time.monotonic() >= self._status_s + STATUS_EVERY_S:
            self._status_s = time.monotonic()
            self._manager.status(self._log.discreet(backlog.at()) if self._up else "starting")

    def _drain(self, engine: dict[str, Perpetual], backlog: Backlog, upkeep: Upkeep) -> None:
        """End everything: the engine at once, the worker within its grace."""
        grace_s = self._home.config.grace_s if backlog.worker else 0
        wait = f"; the worker has {grace_s} s to come to a good place" if grace_s else ""
        self._tell("draining", f"owner {self._home.config.party} is ending{wait}")
        self._manager.stopping()
        end_s = time.monotonic() + grace_s
        children = [perpetual.child for perpetual in engine.values()]
        if backlog.worker:
            backlog.worker.ask_to_end()
        for child in children:
            child.ask_to_end()
        while backlog.worker and backlog.worker.running() and not self._hurry and time.monotonic() < end_s:
            self._manager.alive()
            time.sleep(TICK_S)
        backlog.end()
        end_all(children)
        upkeep.stop()
        self._tell("ended", f"owner {self._home.config.party} has ended")

    def _read_config(self, executor: Perpetual, backlog: Backlog) -> None:
        """Take over what config.yaml now says, or keep the old if it is wrong."""
        self._reload = False
        self._manager.reloading()
        try:
            change = reloading.read(self._home)
        except ClientError as error:
            self._tell("reload refused", f"config.yaml is refused, the old one stays in force: {error}")
        else:
            rule = self._home.config.approve
            self._home = backlog.home = replace(self._home, config=change.config)
            self._log.discreet = reloading.discretion(self._home)
            if change.config.approve is not rule:
                executor.renew(time.monotonic())  # it answers by the rule that it started with
            self._tell("reloaded", change.line)
        backlog.hurry()
        self._manager.ready()

    def _engine(self, config: NodeConfig) -> dict[str, Perpetual]:
        environment = flower_node.environment(config)
        commands = {
            "supernode": flower_node.supernode_command(config),
            "executor": flower_node.executor_command(config, self._home.layout.root),
        }
        logs = self._home.layout.logs
        return {
            name: Perpetual(
                Child(name, command, environment, logs / f"{name}.log", self._leftovers), self._log.of("engine")
            )
            for name, command in commands.items()
        }

    def _node_config(self) -> NodeConfig:
        layout = self._home.layout
        return NodeConfig(
            directory=layout.flower,
            superlink=self._home.config.fleet,
            ca=layout.authority,
            private_key=layout.node_key,
            runtime_port=_free_port(),
        )

    def _tell(self, event: str, line: str) -> None:
        self._log.tell("daemon", event, line)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        if self._over:
            self._hurry = True
        self._over = True

    def _ask_to_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True


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
