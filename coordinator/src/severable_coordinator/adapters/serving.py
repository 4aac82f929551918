"""`up`: the coordinator's servers and Flower's processes, started together and ended together."""

import fcntl
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc

from severable_coordinator.adapters import engine, leftovers
from severable_coordinator.adapters.enforcer import Enforcer
from severable_coordinator.adapters.enrolment_server import EnrolmentService, serve_enrolment
from severable_coordinator.adapters.exchange_server import ExchangeService, serve_exchange
from severable_coordinator.adapters.idle import IdlePreparing
from severable_coordinator.adapters.notice_sender import NoticeSender
from severable_coordinator.adapters.server_certificate import keep_current
from severable_coordinator.bootstrap import Coordinator
from severable_coordinator.config import Layout
from severable_coordinator.errors import BusyError, EngineError

_HEALTHY_S = 60.0
_STOP_S = 10.0
_WATCH_S = 0.5
_CARE_EVERY = 7200  # looks, hence about once an hour

Say = Callable[[str], None]


@contextmanager
def home_lock(layout: Layout) -> Iterator[None]:
    """Hold a home directory for one `up`. BusyError when another one holds it."""
    with layout.lock.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            holder = f"a coordinator (process {stream.read().strip()}) is running on this directory"
            raise BusyError(f"{layout.home}: {holder}; stop it first") from error
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def serve(coordinator: Coordinator, say: Say) -> None:
    """Run until SIGINT or SIGTERM, or until a process that must run ends. BusyError, EngineError."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    with home_lock(coordinator.layout):
        if ended := leftovers.end_those_of_before(coordinator.layout.children):
            say(f"ended {ended} processes that an earlier coordinator left behind")
        keep_current(coordinator)
        engine.prepare(coordinator.engine)
        servers = _start_servers(coordinator)
        children: dict[str, subprocess.Popen[bytes]] = {}
        enforcer, sender = Enforcer(coordinator, say), NoticeSender(coordinator, say)
        idle = IdlePreparing(coordinator, say)
        try:
            _start_engine(coordinator, children)
            coordinator.standing.shut_out_revoked()
            _announce(coordinator, say)
            enforcer.start()
            sender.start()
            watched = 0
            while not stop.wait(_WATCH_S):
                _refuse_the_dead(coordinator, children)
                enforcer.tick()
                idle.tick()
                coordinator.admission.intakes.sweep()
                watched += 1
                if watched % _CARE_EVERY == 0:
                    coordinator.logbook.keep_roster_current()
                    if keep_current(coordinator):
                        say("the servers' certificate is renewed; Flower's processes start again with it")
                        _end_children(children, say)
                        _start_engine(coordinator, children)
        finally:
            idle.end()
            enforcer.stop()
            sender.stop()
            _end(coordinator, servers, children, say)
            leftovers.note(coordinator.layout.children, ())


def _start_servers(coordinator: Coordinator) -> list[grpc.Server]:
    ca = coordinator.authority.certificate
    config = coordinator.config
    coordinator.logbook.keep_roster_current()
    enrolment = EnrolmentService(
        coordinator.enrolment, coordinator.trust_root.to_bytes(), config.exchange_address, config.fleet_address
    )
    exchange = ExchangeService(
        coordinator.contracting,
        coordinator.admission,
        coordinator.requests,
        coordinator.enrolment,
        coordinator.standing,
    )
    first = serve_enrolment(enrolment, config.enrolment_address, lambda: coordinator.server, ca)
    try:
        return [first, serve_exchange(exchange, config.exchange_address, lambda: coordinator.server, ca)]
    except BusyError:
        first.stop(None)
        raise


def _start_engine(coordinator: Coordinator, children: dict[str, subprocess.Popen[bytes]]) -> None:
    children["SuperLink"] = _child(coordinator, "superlink", engine.superlink_command(coordinator.engine))
    leftovers.note(coordinator.layout.children, [children["SuperLink"].pid])
    children["executor"] = _child(coordinator, "executor", engine.executor_command(coordinator.engine))
    leftovers.note(coordinator.layout.children, [child.pid for child in children.values()])
    superlink = children["SuperLink"]
    engine.wait_healthy(coordinator.engine, _HEALTHY_S, alive=lambda: superlink.poll() is None)


def _child(coordinator: Coordinator, name: str, command: list[str]) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own, so that it and its children can be ended as one."""
    log = (coordinator.layout.logs / f"{name}.log").open("ab")
    environment = engine.environment(coordinator.engine) | {"SEVERABLE_HOME": str(coordinator.layout.home)}
    with log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)


def _announce(coordinator: Coordinator, say: Say) -> None:
    config = coordinator.config
    say(f"enrolment on {config.enrolment_address} (TLS)")
    say(f"exchange on {config.exchange_address} (mutual TLS)")
    say(f"Flower fleet on {config.fleet_address} (TLS, node keys); control on 127.0.0.1:{config.ports.control} only")
    say(f"coordinator {config.id} is up; Ctrl-C ends it")


def _refuse_the_dead(coordinator: Coordinator, children: dict[str, subprocess.Popen[bytes]]) -> None:
    for name, child in children.items():
        if (code := child.poll()) is not None:
            raise EngineError(f"{name} ended with status {code}; see {coordinator.layout.logs}")


def _end(
    coordinator: Coordinator, servers: list[grpc.Server], children: dict[str, subprocess.Popen[bytes]], say: Say
) -> None:
    say("stopping")
    for stopped in [server.stop(_STOP_S) for server in servers]:
        stopped.wait()
    coordinator.admission.intakes.close()
    _end_children(children, say)
    say("stopped")


def _end_children(children: dict[str, subprocess.Popen[bytes]], say: Say) -> None:
    for child in reversed(children.values()):
        _signal(child, signal.SIGTERM)
    for name, child in children.items():
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            say(f"{name} did not stop within {_STOP_S:.0f} s; killed")
        _signal(child, signal.SIGKILL)  # what is left of its group
        child.wait()


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return
