"""What the client's tests share: one federation, made once; its values are frozen. And a command line on a home.

A module that needs another `run`, `service` or `home` has its own.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from client.exchange_service import Service, serving
from client.fleet_service import fleet_port
from client.samples import RECIPE_BYTES, Federation, make_home
from client.terminal import Terminal

from severable_client.adapters.config import read_config, write_config
from severable_client.bootstrap import now, open_home
from severable_protos.v1 import exchange_pb2 as wire
from severable_trust.statement import sign_statement, statement_id


@pytest.fixture(scope="session")
def federation() -> Federation:
    return Federation.make()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    monkeypatch.delenv("SEVERABLE_HOME", raising=False)
    return Terminal(monkeypatch, capsys)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def home(federation: Federation, tmp_path: Path, service: Service) -> Iterator[Path]:
    with serving(service, federation) as address, fleet_port(federation.authority) as fleet:
        made = make_home(federation, tmp_path, address)
        path = made / "config.yaml"
        write_config(path, replace(read_config(path), fleet=fleet))
        contract = federation.contract(owner=open_home(made).sides.own, begins=now())
        offer = sign_statement(contract, federation.coordinator)
        service.contracts.append(
            wire.ContractItem(
                id=str(statement_id(offer)), envelope=offer.to_bytes(), state="offered", recipes=[RECIPE_BYTES]
            )
        )
        yield made
