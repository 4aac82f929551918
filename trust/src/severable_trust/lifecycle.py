"""The life of a contract: its states, the events that move it, and the one table of what may follow what."""

from enum import StrEnum

from severable_trust.errors import ContractError


class ContractState(StrEnum):
    """Where a contract stands. `SUPERSEDED`, `EXPIRED`, `TERMINATED` and `BREACHED` are final."""

    OFFERED = "offered"
    SIGNED = "signed"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    SUPERSEDED = "superseded"  # a later version is in its place, and what was done under this one stands
    EXPIRED = "expired"
    TERMINATED = "terminated"
    BREACHED = "breached"


class ContractEvent(StrEnum):
    """What can happen to a contract."""

    SIGN = "sign"
    ACTIVATE = "activate"
    SUSPEND = "suspend"
    RESUME = "resume"
    SUPERSEDE = "supersede"
    EXPIRE = "expire"
    TERMINATE = "terminate"
    BREACH = "breach"


_S, _E = ContractState, ContractEvent

TRANSITIONS: dict[tuple[ContractState, ContractEvent], ContractState] = {
    (_S.OFFERED, _E.SIGN): _S.SIGNED,
    (_S.OFFERED, _E.EXPIRE): _S.EXPIRED,
    (_S.OFFERED, _E.TERMINATE): _S.TERMINATED,
    (_S.SIGNED, _E.ACTIVATE): _S.ACTIVE,
    (_S.SIGNED, _E.EXPIRE): _S.EXPIRED,
    (_S.SIGNED, _E.TERMINATE): _S.TERMINATED,
    (_S.ACTIVE, _E.SUSPEND): _S.SUSPENDED,
    (_S.ACTIVE, _E.SUPERSEDE): _S.SUPERSEDED,
    (_S.ACTIVE, _E.EXPIRE): _S.EXPIRED,
    (_S.ACTIVE, _E.TERMINATE): _S.TERMINATED,
    (_S.ACTIVE, _E.BREACH): _S.BREACHED,
    (_S.SUSPENDED, _E.RESUME): _S.ACTIVE,
    (_S.SUSPENDED, _E.EXPIRE): _S.EXPIRED,
    (_S.SUSPENDED, _E.TERMINATE): _S.TERMINATED,
    (_S.SUSPENDED, _E.BREACH): _S.BREACHED,
}


def advance(state: ContractState, event: ContractEvent) -> ContractState:
    """The state that follows when the event happens.

    Raises:
        ContractError: the event cannot happen in this state.
    """
    following = TRANSITIONS.get((state, event))
    if following is None:
        raise ContractError(f"a contract that is {state} cannot {event}")
    return following
