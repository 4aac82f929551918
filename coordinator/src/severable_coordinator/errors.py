"""What can go wrong at the coordinator, as one tree.

    CoordinatorError                 base, never raised itself
    ├── ConfigError                  a file or option of the operator is wrong or missing
    ├── BusyError                    somebody else has the home directory, a port, or what is to be erased
    ├── NotFoundError                no such party, contract, recipe, shard or composite
    ├── ConflictError                it exists, but not in a state that allows this
    ├── RefusedError                 the other side's statement, token or upload is not accepted
    ├── WithdrawnError               a shard that was being worked with is being removed
    ├── StorageError                 the disk is full or a stored file is not what was stored
    └── EngineError                  Flower did not do as told

Every message is one line: what, where, what to do. `severable_trust.TrustError` passes through: its messages keep
the same rule.
"""


class CoordinatorError(Exception):
    """Base of the tree; catch it, do not raise it."""


class ConfigError(CoordinatorError):
    """A file or option that the operator gave is wrong or missing."""


class BusyError(CoordinatorError):
    """Another process holds the home directory, a port, or what is to be erased."""


class NotFoundError(CoordinatorError):
    """Nothing is known under this name or digest."""


class ConflictError(CoordinatorError):
    """The thing exists, but its state does not allow what was asked."""


class RefusedError(CoordinatorError):
    """A statement, token or upload of another side is not accepted."""


class WithdrawnError(CoordinatorError):
    """What was under way holds a shard that is being removed: it gives up, and nothing was handed out."""


class StorageError(CoordinatorError):
    """The disk is full, or a stored file is not what was stored."""


class EngineError(CoordinatorError):
    """Flower did not do as told."""
