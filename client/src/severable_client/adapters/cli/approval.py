"""`approve`, `refuse` and `approvals`: the owner's word on every recipe before it is trained here."""

import getpass
from typing import Annotated

import typer

from severable_client.adapters.cli.options import (
    DEFAULT_HOME,
    Format,
    FormatOption,
    HomeOption,
    YesOption,
    short,
    write_json,
    write_table,
)
from severable_client.adapters.recipe_words import describe_recipe
from severable_client.bootstrap import Home, open_home
from severable_client.consent import waiting
from severable_client.contracts import FINAL, open_contract
from severable_client.errors import ConsentError

APPROVE_EXAMPLE = "Example: severable-client approve 3f2a9c"
REFUSE_EXAMPLE = "Example: severable-client refuse 3f2a9c"
APPROVALS_EXAMPLE = "Example: severable-client approvals --format json"

_LEAST_DIGITS = 4

WhatArgument = Annotated[
    str,
    typer.Argument(
        metavar="[RECIPE|JOB]",
        help="A recipe's digest or a job's id, or its first digits; may be left out if only one recipe is undecided.",
    ),
]


def approve(
    what: WhatArgument = "", yes: YesOption = False, home: HomeOption = DEFAULT_HOME, how: FormatOption = Format.TEXT
) -> None:
    """Let a recipe be trained here; jobs that waited for it begin. It is not asked about again unless it changes."""
    _decide(what, home=open_home(home), granted=True, yes=yes, how=how)


def refuse(
    what: WhatArgument = "", yes: YesOption = False, home: HomeOption = DEFAULT_HOME, how: FormatOption = Format.TEXT
) -> None:
    """Do not let a recipe be trained here, or no longer; jobs that wait for it are refused, one under way fails."""
    _decide(what, home=open_home(home), granted=False, yes=yes, how=how)


def approvals(home: HomeOption = DEFAULT_HOME, how: FormatOption = Format.TEXT) -> None:
    """List every recipe that a contract names with what was decided about it, by whom and when."""
    rows = _rows(open_home(home))
    if how is Format.JSON:
        write_json(rows)
        return
    for row in rows:
        row["recipe"] = short(row["recipe"])
    write_table(rows, "no recipe yet; a contract brings one")


def _decide(what: str, *, home: Home, granted: bool, yes: bool, how: Format) -> None:
    recipe = _chosen(what, home)
    verb = "approve" if granted else "refuse"
    if not yes:
        typer.echo(f"Recipe {short(recipe)}:")
        typer.echo(describe_recipe(home.recipes.get(recipe)))
        typer.confirm(f"{verb} it, as {_who()}?", abort=True)
    settled = home.consent.decide(recipe, granted=granted, by=_who())
    if how is Format.JSON:
        write_json({"recipe": recipe, "decision": verb, "by": _who(), "jobs": [job.id for job in settled]})
        return
    typer.echo(f"recipe {short(recipe)} is {'approved' if granted else 'refused'}; {len(settled)} jobs had waited")


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return "the owner"


def _named(home: Home) -> set[str]:
    """Return the digests of recipes of contracts on offer or in force, and of jobs that wait."""
    records = [record for record in home.contracts.all() if record.state not in FINAL]
    named = {str(d) for record in records for d in open_contract(record.envelope, home.sides).value.recipes}
    return named | {job.request.recipe for job in waiting(home.jobs)}


def _chosen(what: str, home: Home) -> str:
    """Return the recipe that is meant.

    Raises:
        ConsentError: none or several are.
    """
    named, digits = _named(home), what.removeprefix("sha256:")
    if not what:
        found = {recipe for recipe in named if home.approvals.get(recipe) is None}
    elif len(digits) < _LEAST_DIGITS:
        raise ConsentError(f"{what!r} is too short to name a recipe or a job; give {_LEAST_DIGITS} digits or more")
    else:
        kept = {approval.recipe for approval in home.approvals.all()}
        found = {recipe for recipe in named | kept if recipe.removeprefix("sha256:").startswith(digits)}
        found |= {job.request.recipe for job in home.jobs.all() if job.id.startswith(digits)}
    if len(found) == 1:
        return found.pop()
    known = ", ".join(sorted(map(short, found or named))) or "none"
    problem = f"{len(found)} are meant" if found else "no such recipe or job is here"
    raise ConsentError(
        f"{what[:80] or 'no recipe named'}: {problem} (recipes: {known}); see severable-client approvals"
    )


def _rows(home: Home) -> list[dict[str, str]]:
    kept = {approval.recipe: approval for approval in home.approvals.all()}
    jobs = [job.request.recipe for job in waiting(home.jobs)]
    rows = []
    for recipe in sorted(_named(home) | kept.keys()):
        approval = kept.get(recipe)
        decided = "not decided" if approval is None else ("approved" if approval.granted else "refused")
        rows.append(
            {
                "recipe": recipe,
                "decision": decided,
                "by": approval.by if approval else "",
                "at": f"{approval.at:%Y-%m-%dT%H:%M:%SZ}" if approval else "",
                "jobs_waiting": str(jobs.count(recipe)),
            }
        )
    return rows
