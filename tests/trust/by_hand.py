"""Running `docs/verify-receipt.sh` beside `verify_receipt`: both must say the same."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tools import require_tools
from trust.samples import (
    Federation,
    make_receipt,
    make_request,
    prove,
)
from vectors import make

from severable_trust.bundle import ReceiptBundle, TrustRoot, verify_receipt
from severable_trust.envelope import Envelope
from severable_trust.errors import TrustError
from severable_trust.removal import Receipt
from severable_trust.statement import sign_statement, statement_id

VECTORS = Path(make.__file__).parent
DOCS = VECTORS.parents[1] / "docs"

TOOLS = ("bash", "jq", "openssl", "sha256sum", "base64", "od", "sed", "cmp")


def run_script(folder: Path, receipt: bytes, trust_root: bytes) -> subprocess.CompletedProcess[str]:
    require_tools(*TOOLS)
    (folder / "receipt.json").write_bytes(receipt)
    (folder / "trust-root.json").write_bytes(trust_root)
    command = [str(DOCS / "verify-receipt.sh"), "receipt.json", "trust-root.json"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def check_accepted(folder: Path, receipt: bytes, trust_root: TrustRoot) -> None:
    said = verify_receipt(receipt, trust_root).receipt
    ran = run_script(folder, receipt, trust_root.to_bytes())
    assert (ran.returncode, ran.stderr) == (0, "")
    first, _, predicate = ran.stdout.partition("\n")
    assert str(said.id) in first
    assert json.loads(predicate) == said.value.to_predicate()


def check_refused(folder: Path, receipt: bytes, trust_root: TrustRoot, why: str = "") -> None:
    with pytest.raises(TrustError):
        verify_receipt(receipt, trust_root)
    ran = run_script(folder, receipt, trust_root.to_bytes())
    assert ran.returncode == 1, ran.stdout
    assert re.fullmatch(rf"refused: [^\n]*{why}[^\n]*\n", ran.stderr), ran.stderr
    assert not ran.stdout


def one_bit(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def removal_under(federation: Federation, contract: Envelope) -> tuple[Receipt, dict[str, Envelope]]:
    """A receipt and a request that rest on this contract."""
    request = prove(make_request(statement_id(contract), federation.claim.id), federation.keys.alice)
    receipt = make_receipt(request.id, statement_id(contract), federation.claim.id)
    return receipt, {"request": request.envelope, "contract": contract}


def bundled(federation: Federation, value: Receipt, **parts: Any) -> ReceiptBundle:
    """A bundle whose receipt the coordinator did sign and log."""
    receipt = sign_statement(value, federation.keys.coordinator)
    return replace(federation.bundle(), receipt=receipt, proof=federation.proof(receipt), **parts)
