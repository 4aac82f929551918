"""`init`, `up` and `status`."""

import json
import socket
from pathlib import Path
from typing import Annotated

import typer

from severable_coordinator.adapters.cli.options import DEFAULT_HOME, As, Format, Home
from severable_coordinator.adapters.founding import found_home
from severable_coordinator.adapters.serving import serve
from severable_coordinator.adapters.settings import check_port
from severable_coordinator.adapters.signing import read_public
from severable_coordinator.bootstrap import Coordinator, open_home
from severable_coordinator.config import Config, Layout, Ports
from severable_coordinator.errors import ConfigError
from severable_coordinator.ports import ShardState
from severable_coordinator.stores import utc_now

_APP = Path(__file__).resolve().parents[5] / "deploy" / "flower-app"  # where a checkout has it


def init(
    name: Annotated[str, typer.Option("--id", help="The coordinator's name in statements and in the log.")],
    home: Home = DEFAULT_HOME,
    legal_name: Annotated[str, typer.Option(help="Legal name in contracts; the id when left out.")] = "",
    host: Annotated[str, typer.Option(help="Address that data owners reach.")] = "127.0.0.1",
    enrolment_port: Annotated[int, typer.Option(help="Port for `join` (TLS).")] = 7001,
    exchange_port: Annotated[int, typer.Option(help="Port for contracts and uploads (mutual TLS).")] = 7002,
    fleet_port: Annotated[int, typer.Option(help="Port for Flower nodes (TLS).")] = 7003,
    control_port: Annotated[int, typer.Option(help="Loopback port of Flower's whole API.")] = 7004,
    app: Annotated[Path, typer.Option(help="Directory of the Flower app bundle.")] = _APP,
    statement_key: Annotated[
        str, typer.Option(help="URI of a statement key in an HSM or key service, as hsm:2?label=federation.")
    ] = "",
    statement_public: Annotated[Path | None, typer.Option(help="Its public half (PEM), with --statement-key.")] = None,
) -> None:
    """Make a coordinator's home directory: keys, certificates, configuration, an empty log.

    Example: severable-coordinator init --home ./coordinator --id federation --host 10.0.0.5
    """
    ports = Ports(enrolment=enrolment_port, exchange=exchange_port, fleet=fleet_port, control=control_port)
    for field in ("enrolment", "exchange", "fleet", "control"):
        check_port("init", field, getattr(ports, field))
    if bool(statement_key) != (statement_public is not None):
        raise ConfigError("init: --statement-key and --statement-public go together")
    layout = Layout(home.resolve())
    config = Config(id=name, legal_name=legal_name or name, host=host, ports=ports, statement_key=statement_key)
    found_home(layout, config, app, utc_now(), read_public(statement_public) if statement_public else None)
    coordinator = open_home(home)
    coordinator.logbook.issue_roster()
    print(f"coordinator {name} made in {layout.home}")
    print(f"give {layout.trust_root} to everybody who is to verify what it signs")


def up(home: Home = DEFAULT_HOME) -> None:
    """Run the coordinator's servers until Ctrl-C: enrolment, exchange, Flower SuperLink and its executor.

    Example: severable-coordinator up --home ./coordinator
    """
    serve(open_home(home), lambda line: print(line, flush=True))


def status(how: As = Format.TEXT, home: Home = DEFAULT_HOME) -> None:
    """Say what runs and what the coordinator holds.

    Example: severable-coordinator status --format json
    """
    coordinator = open_home(home)
    facts = _facts(coordinator)
    if how is Format.JSON:
        print(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        print(f"{name.replace('_', ' ')}: {value}")


def _facts(coordinator: Coordinator) -> dict[str, object]:
    config = coordinator.config
    records = coordinator.removals.removals()
    checkpoint, _ = coordinator.log.checkpoint()
    return {
        "coordinator": config.id,
        "home": str(coordinator.layout.home),
        "enrolment": _listening(config.host, config.ports.enrolment),
        "exchange": _listening(config.host, config.ports.exchange),
        "fleet": _listening(config.host, config.ports.fleet),
        "parties": len(coordinator.parties.parties()),
        "contracts_active": sum(1 for record in coordinator.contracts.contracts() if record.state == "active"),
        "shards_live": len(coordinator.shards.shards()),
        "shards_removed": len(coordinator.shards.shards(ShardState.ERASED)),
        "composites_live": len(coordinator.composites.composites()),
        "removals_open": sum(1 for record in records if not record.ended),
        "removals_fulfilled": sum(1 for record in records if record.state == "fulfilled"),
        "log_entries": checkpoint.size,
    }


def _listening(host: str, port: int) -> str:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        answered = probe.connect_ex((host, port)) == 0
    return f"{host}:{port} {'answers' if answered else 'does not answer; start it with `up`'}"
