"""Nothing happens outside an active contract: every combination of what may decide it, against an oracle of its own.

The oracle is a list of refusals in the order in which the contract is asked; it shares no line with `require`.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product

import pytest
from trust.samples import APP, RECIPE, Federation

from severable_trust.contract import Action, Contract, ContractState, require
from severable_trust.digest import Digest
from severable_trust.errors import ContractError

SECOND = timedelta(seconds=1)
PERMITTED = [(action,) for action in Action] + [tuple(Action)]
RECIPES = {"none": None, "covered": RECIPE, "another": Digest.of(b"another")}
APPS = {"none": None, "covered": APP, "another": Digest.of(b"another")}
RECIPIENTS = {"none": None, "named": "public", "another": "press"}


def moments(contract: Contract) -> dict[str, datetime]:
    return {
        "a year before": contract.valid_from - timedelta(days=365),
        "a second before": contract.valid_from - SECOND,
        "the first second": contract.valid_from,
        "the last second": contract.valid_until - SECOND,
        "the end": contract.valid_until,
        "a year after": contract.valid_until + timedelta(days=365),
    }


def expected(
    state: ContractState, when: str, action: Action, permissions: tuple[Action, ...], *, recipe: str, app: str, to: str
) -> str:
    """Why it is refused, or "" where it is allowed."""
    refusals = [
        (state.value != "active", f"is {state.value}, not active"),
        (when not in {"the first second", "the last second"}, "out of term"),
        (action.value not in [permitted.value for permitted in permissions], f"does not permit to {action.value}"),
        (recipe == "another", "does not cover recipe"),
        (app == "another", "does not cover application bundle"),
        (to == "another", "among its recipients"),
    ]
    return next((why for refused, why in refusals if refused), "")


def cases(contract: Contract) -> Iterator[tuple[ContractState, str, tuple[Action, ...], str, str, str]]:
    yield from product(ContractState, moments(contract), PERMITTED, RECIPES, APPS, RECIPIENTS)


@pytest.mark.parametrize("action", Action)
def test_an_action_is_allowed_exactly_where_the_table_allows_it(federation: Federation, action: Action) -> None:
    contract, allowed, asked = federation.contract.value, 0, 0
    at = moments(contract)
    for state, when, permissions, recipe, app, to in cases(contract):
        asked += 1
        why = expected(state, when, action, permissions, recipe=recipe, app=app, to=to)
        said = ""
        try:
            require(
                replace(contract, permissions=permissions), state, action, at[when],
                recipe=RECIPES[recipe], app=APPS[app], recipient=RECIPIENTS[to],
            )  # fmt: skip
        except ContractError as error:
            said = str(error)
        assert why in said, (state, when, permissions, recipe, app, to, said)
        assert bool(why) == bool(said), (state, when, permissions, recipe, app, to, said)
        allowed += not said
    assert asked == len(ContractState) * 6 * 5 * 27
    assert allowed == 2 * 2 * 8  # one state, two moments, two lists of permissions, two of three for each of the rest
