"""The report of a removal as one page without network or script, for people: owner, lawyer, auditor."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light; --ink: #1f2933; --faint: #52606d; --line: #e4e7eb; --good: #0b6b50; --bad: #b0341c;
  --tone: var(--good); }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f7fa; color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
section, header { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 1.1rem 1.4rem;
  margin-bottom: 1rem; }
header { border-left: 8px solid var(--tone); }
h1 { margin: 0 0 .3rem; font-size: 1.5rem; color: var(--tone); overflow-wrap: anywhere; }
h2 { margin: 0 0 .5rem; font-size: 1.1rem; } h3 { margin: .8rem 0 .3rem; font-size: 1rem; }
p { margin: .3rem 0 .6rem; overflow-wrap: anywhere; }
.bad { --tone: var(--bad); } .faint { color: var(--faint); font-size: .9rem; }
.mark { font-weight: 600; color: var(--tone); white-space: nowrap; }
code, pre { font: .85rem/1.6 ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
pre { background: #f5f7fa; border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem; margin: .4rem 0; }
table { width: 100%; border-collapse: collapse; font-size: .93rem; }
th, td { text-align: left; vertical-align: top; padding: .45rem .6rem .45rem 0; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; }
thead th { border-top: 0; color: var(--faint); font-weight: 600; }
th { overflow-wrap: normal; } td.short { white-space: nowrap; }
img { max-width: 100%; height: auto; display: block; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-size: .85rem; color: var(--faint); padding-top: .2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: .6rem 0 0; font-size: .93rem; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
@media print { body { background: #fff; } section, header { break-inside: avoid; } }
"""


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG for the page, and the line below it."""

    png: bytes
    caption: str


def page(facts: dict[str, Any], pictures: Sequence[Picture]) -> str:
    """The page of the facts that `removal_report.Reporting.facts` gathered; every text in them is escaped."""
    parts = [_head(facts), _asked(facts), _done(facts), _composites(facts), _shown(pictures), _quality(facts)]
    parts += [_residual(facts), _recalls(facts), _verify(facts), _foot(facts)]
    # The policy keeps the page from loading anything even if a name in it tried to.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Removal of {escape(facts['party'])}</title>\n<style>{_STYLE}</style></head>\n"
        f"<body><main>\n{''.join(parts)}</main></body></html>\n"
    )


def _head(facts: dict[str, Any]) -> str:
    receipt = facts["receipt"]
    whole = receipt is not None and receipt["outcome"] == "fulfilled"
    said = "not finished yet" if receipt is None else str(receipt["outcome"]).replace("_", " ")
    rows = {
        "party": f"{facts['legal_name']} ({facts['party']})",
        "coordinator": facts["coordinator"],
        "receipt": "none yet" if receipt is None else f"{receipt['receipt_id']}, issued {receipt['issued']}",
        "statement": facts["receipt_statement"] or "none yet",
    }
    tone = "good" if whole else "bad"
    return (
        f'<header class="{tone}"><h1>Removal of {escape(facts["party"])}: {escape(said)}</h1>{_list(rows)}</header>\n'
    )


def _asked(facts: dict[str, Any]) -> str:
    asked, contract = facts["request"], facts["contract"]
    rows = {
        "asked by": f"{facts['legal_name']} ({facts['party']})",
        "under": f"contract {contract['uid']} version {contract['version']}, clause {asked['clause']}",
        "about": f"{contract['target']}: " + (", ".join(asked["subjects"]) or "all of the party's shards"),
        "reason": f"{asked['reason_code']}: {asked['reason'] or 'none given'}",
        "submitted": asked["submitted"],
        "acknowledged": f"{asked['received']}, completion expected by {asked['expected']}",
        "deadline": f"{contract['deletion_days']} days by the contract, which is now {contract['state']}",
        "statements": f"request {asked['statement']}, contract {contract['statement']}",
    }
    return f"<section><h2>What was asked</h2>{_list(rows)}</section>\n"


def _done(facts: dict[str, Any]) -> str:
    rows = [(step["done"], step["step"], step["said"]) for step in facts["steps"]]
    table = _table(("when (UTC)", "step", "what was done"), rows) if rows else "<p>Nothing yet.</p>"
    receipt = facts["receipt"]
    checks = "" if receipt is None else _checks(receipt["checks"])
    return f"<section><h2>What was done</h2>{table}{checks}</section>\n"


def _checks(checks: list[dict[str, str]]) -> str:
    rows = [(check["at"], check["check"], check["result"]) for check in checks]
    return f"<h3>What was checked afterwards</h3>{_table(('when (UTC)', 'check', 'result'), rows)}"


def _composites(facts: dict[str, Any]) -> str:
    rows = [(one["group"], one["before"], one["after"] or "retired") for one in facts["composites"]]
    if not rows:
        return "<section><h2>Composites</h2><p>No composite in use held the shards.</p></section>\n"
    said = (
        "A composite's digest follows from its shards, their weights, the router and the scheduler alone: the one "
        "after is that of a federation that the party never joined."
    )
    table = _table(("access group", "before", "after"), rows)
    return f"<section><h2>Composites, before and after</h2><p>{said}</p>{table}</section>\n"


def _shown(pictures: Sequence[Picture]) -> str:
    if not pictures:
        return ""
    shown = "".join(
        f'<figure><img alt="{escape(one.caption)}" src="data:image/png;base64,{base64.b64encode(one.png).decode()}">'
        f"<figcaption>{escape(one.caption)}</figcaption></figure>"
        for one in pictures
    )
    return f'<section><h2>Samples</h2><div class="pair">{shown}</div></section>\n'


def _quality(facts: dict[str, Any]) -> str:
    if not facts["quality"]:
        return ""
    said = (
        "The distance of what the others' shards draw to their own banks. Its change is told in parts of the distance "
        "that a constant picture has: 0 % means that the removal took nothing from the others."
    )
    heads = ("access group", "before", "after", "change (95 % interval)", "measured by")
    table = _table(heads, [_quality_row(one) for one in facts["quality"]])
    return f"<section><h2>Quality of what stayed</h2><p>{said}</p>{table}</section>\n"


def _quality_row(one: dict[str, Any]) -> tuple[str, ...]:
    if "not_measured" in one:
        return (one["group"], "", "", f"not measured: {one['not_measured']}", "")
    change = f"{_number(one['change'], '+.2%')} ({_number(one['low'], '+.2%')} to {_number(one['high'], '+.2%')})"
    how = f"{one['measure']}, {one['samples']} samples, seed {one['seed']}"
    return (one["group"], _number(one["before"]), _number(one["after"]), change, how)


def _number(value: object, form: str = ".4g") -> str:
    return format(value, form) if isinstance(value, float) else str(value)


def _residual(facts: dict[str, Any]) -> str:
    receipt = facts["receipt"]
    if receipt is None:
        return ""
    residual = _table(
        ("what", "why", "until"), [(one["what"], one["why"], one["until"]) for one in receipt["residual"]]
    )
    kept = _table(("what", "on which basis"), [(one["what"], one["basis"]) for one in receipt["retained"]])
    actions = _table(
        ("what", "digest", "how"), [(one["artifact"], one["digest"], one["method"]) for one in receipt["actions"]]
    )
    return (
        f"<section><h2>What was erased, and how</h2>{actions}</section>\n"
        f"<section><h2>What could not be reached</h2>{residual}<h3>What is kept on purpose</h3>{kept}</section>\n"
    )


def _recalls(facts: dict[str, Any]) -> str:
    recalls = facts["recalls"]
    if not recalls:
        return "<section><h2>Recalls</h2><p>No copy that held the shards is on record as handed out.</p></section>\n"
    rows = [
        (
            one["recipient"] or one["recall"],
            f"{one['what']} {one['recalled'][:19]}",
            one["replacement"][:19] or "none",
            one["answer_by"],
            f"{one['standing']} {one['answered']}".strip(),
        )
        for one in recalls
    ]
    head = ("recall", "what", "in its place", "answer due", f"standing at {facts['made']}")
    said = "A recipient's answer is its word; that a copy is gone cannot be proved. Answers come after the receipt too."
    return f"<section><h2>Recalls of what was handed out</h2><p>{said}</p>{_table(head, rows)}</section>\n"


def _verify(facts: dict[str, Any]) -> str:
    if facts["receipt"] is None:
        return ""
    commands = (
        "severable-verify receipt receipt.json --trust-root trust-root.json\n"
        "severable-verify log log.json --trust-root trust-root.json\n"
        "severable-verify composite composite --trust-root trust-root.json"
    )
    said = (
        "On your own machine, offline, with the trust root that you were given when you joined: the receipt with its "
        "log proof, the whole log, and a composite that you hold, whose digest must be one of those under “after”. "
        f"The receipt's statement must be {facts['receipt_statement']}."
    )
    return f"<section><h2>How to verify it yourself</h2><p>{escape(said)}</p><pre>{commands}</pre></section>\n"


def _foot(facts: dict[str, Any]) -> str:
    said = (
        f"Made by {facts['coordinator']} at {facts['made']} from what it has on record. The page is not signed: the "
        "receipt is the evidence, this only shows it."
    )
    return f'<p class="faint">{escape(said)}</p>\n'


def _list(rows: dict[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in rows.items()) + "</dl>"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"


def _cell(value: object) -> str:
    """A cell; what is no longer than a time is not broken, so that long digests leave it room."""
    text = str(value)
    short = ' class="short"' if len(text) <= len("2026-11-26T13:46:02Z") else ""
    return f"<td{short}>{escape(text)}</td>"
