"""What the report of a removal says, gathered from what is recorded: plain values, for the page and for programs.

Recipients are named by their recalls' ids, as in the receipt, unless the operator asks for names for its own use.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from severable_coordinator.contracting import Contracting
from severable_coordinator.errors import NotFoundError
from severable_coordinator.membership import PartyStore
from severable_coordinator.ports import Clock, RemovalRecord, RemovalStore
from severable_coordinator.recalls import RecallStore
from severable_trust import canonical
from severable_trust.bundle import ReceiptBundle
from severable_trust.contract import Contract
from severable_trust.envelope import Envelope
from severable_trust.instant import format_instant
from severable_trust.receipt import Receipt
from severable_trust.record import to_plain
from severable_trust.statement import read_unverified, statement_id

Facts = dict[str, Any]
STEPS = (  # in their order; a few may lack
    "plan",
    "withdraw",
    "erase",
    "rebuild",
    "quality",
    "prove",
    "recall",
    "order",
    "receipt",
    "notices",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """Gathers the facts of a removal."""

    coordinator: str
    contracting: Contracting
    parties: PartyStore
    removals: RemovalStore
    recalls: RecallStore
    clock: Clock

    def find(self, name: str) -> RemovalRecord:
        """A party's newest removal, or the one whose request begins so. NotFoundError."""
        known = self.removals.removals()
        if own := [record for record in known if record.party == name]:
            return own[-1]
        wanted = name.removeprefix("sha256:")
        found = [record for record in known if wanted and record.request.hex.startswith(wanted)]
        if len(found) != 1:
            raise NotFoundError(f"{len(found)} removals are of {name[:80]!r}; `remove --list` shows them")
        return found[0]

    def facts(self, record: RemovalRecord, *, named: bool = False) -> Facts:
        """Everything that the page shows but its pictures.

        Args:
            record: the removal.
            named: whether recalls name their recipients.
        """
        now = self.clock()
        steps = {name: canonical.decode(data, name) for name, data in self.removals.steps(record.request).items()}
        receipt = ReceiptBundle.parse(record.bundle).receipt if record.bundle else None
        return {
            "coordinator": self.coordinator,
            "made": format_instant(now),
            "state": record.state,
            "party": record.party,
            "legal_name": self._legal_name(record.party),
            "request": _request(record),
            "contract": self._contract(record),
            "steps": _steps(steps),
            "composites": _composites(steps),
            "quality": _quality(steps),
            "receipt": None if receipt is None else _receipt(read_unverified(receipt, Receipt)),
            "receipt_statement": None if receipt is None else str(statement_id(receipt)),
            "recalls": self._recalls(record, now, named=named),
        }

    def _legal_name(self, party: str) -> str:
        try:
            return self.parties.party(party).legal_name
        except NotFoundError:
            return party

    def _contract(self, record: RemovalRecord) -> Facts:
        known = self.contracting.contracts.contract(record.contract)
        contract = read_unverified(known.envelope, Contract)
        return {
            "statement": str(record.contract),
            "uid": contract.uid,
            "version": contract.version,
            "target": contract.target,
            "state": known.state.value,
            "deletion_days": contract.deletion.deadline_days,
        }

    def _recalls(self, record: RemovalRecord, now: datetime, *, named: bool) -> list[Facts]:
        found = []
        for recall in self.recalls.recalls(record.request):
            said, answer = recall.said, recall.answered
            found.append(
                {
                    "recall": str(recall.id),
                    "recipient": said.recipient if named else "",
                    "what": said.artifact.value,
                    "recalled": str(said.recalled),
                    "replacement": str(said.replacement) if said.replacement else "",
                    "issued": format_instant(said.issued),
                    "answer_by": format_instant(said.answer_by),
                    "standing": recall.standing(now).value,
                    "answered": format_instant(answer.answered) if answer else "",
                }
            )
        return found


def _request(record: RemovalRecord) -> Facts:
    asked, agreed = _predicate(record.envelope), _predicate(record.acknowledgement)
    texts = ("request_id", "clause", "reason_code", "reason", "submitted")
    return {
        "statement": str(record.request),
        **{name: str(asked.get(name, "")) for name in texts},
        "received": str(agreed.get("received", "")),
        "expected": str(agreed.get("expected_completion", "")),
        "subjects": [str(subject) for subject in asked.get("subjects", [])],
    }


def _predicate(envelope: bytes) -> Facts:
    """What a statement says, of whatever kind: not only a party's request starts a removal. Empty where none is."""
    if not envelope:
        return {}
    payload = canonical.decode_any_form(Envelope.parse(envelope).payload, "statement")
    predicate = payload.get("predicate") if isinstance(payload, dict) else None
    return dict(predicate) if isinstance(predicate, dict) else {}


def _steps(steps: Mapping[str, Any]) -> list[Facts]:
    known = [name for name in STEPS if name in steps]
    others = sorted((name for name in steps if name not in STEPS), key=lambda name: str(steps[name].get("done", "")))
    rows = [
        {"step": name, "done": str(steps[name].get("done", "")), "said": _said(name, steps[name])}
        for name in [*known, *others]
    ]
    return sorted(rows, key=lambda row: row["done"])  # a proof may come long after the receipt


def _plan(facts: Mapping[str, Any]) -> str:
    took = facts.get("withdrawn_s")
    first = "" if took is None else f"Out of all use within {took:.3f} s. "
    return (
        f"{first}Found: shards {len(facts['subjects'])}, files {len(facts['files'])}, "
        f"composites {len(facts['composites'])}, lines of draws {facts.get('ledger_lines', 0)}."
    )


def _erase(facts: Mapping[str, Any]) -> str:
    key = "data key destroyed" if facts["key"] else "data key stays for the party's other shards"
    left = f"; still there: {len(facts['left'])}" if facts["left"] else "; looked again: nothing left"
    return f"Files erased: {len(facts['files'])}; {key}{left}."


def _rebuild(facts: Mapping[str, Any]) -> str:
    rebuilt = sum(1 for change in facts["composites"] if change[3])
    return f"Composites rebuilt: {rebuilt}; retired: {len(facts['composites']) - rebuilt}."


def _prove(facts: Mapping[str, Any]) -> str:
    verdict = "every file is equal" if facts["equal"] else "not every file is equal"
    return f"Composites built from scratch without the shards: {len(facts['composites'])}; {verdict}."


_SENTENCES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "plan": _plan,
    "withdraw": lambda facts: f"The composites that held them withdrawn; jobs stopped: {facts['tasks_closed']}.",
    "erase": _erase,
    "rebuild": _rebuild,
    "quality": lambda facts: f"Composites whose quality for the others is known: {len(facts['composites'])}.",
    "prove": _prove,
    "recall": lambda facts: f"Copies recalled: {len(facts['recalls'])}.",
    "order": lambda facts: f"Shards to be trained anew: {len(facts['tasks'])}.",
    "receipt": lambda _facts: "Signed, logged and handed out.",
    "notices": lambda _facts: "Both sides' notices written down.",
}


def _said(name: str, facts: Mapping[str, Any]) -> str:
    """One sentence on what a step did."""
    return _SENTENCES[name](facts) if name in _SENTENCES else "Done."


def _composites(steps: Mapping[str, Any]) -> list[Facts]:
    changes = steps.get("rebuild", {}).get("composites", [])
    names = ("group", "before", "router_before", "after", "router_after")
    return [dict(zip(names, change[: len(names)], strict=True)) for change in changes]


def _quality(steps: Mapping[str, Any]) -> list[Facts]:
    """What was measured of the others' quality, for each composite; empty where nothing was measured."""
    measured: list[Facts] = steps.get("quality", {}).get("composites") or steps.get("prove", {}).get("quality", [])
    return measured


def _receipt(receipt: Receipt) -> Facts:
    plain: Facts = to_plain(receipt)
    return plain
