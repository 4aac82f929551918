"""What can go wrong at an owner's side, as one tree. Every message is one line: what, where, what to do.

::

    ClientError                        never raised itself
    ├── HomeError                      the home folder: absent, joined already, not a home
    │   └── BusyError                  another daemon holds it
    ├── ConfigError                    config.yaml: the field is named
    ├── InviteError                    an invite that cannot be read, is out of date, or shows another fingerprint
    ├── ContractProblemError           a contract that is unknown, not ours, not signed, or does not allow it
    ├── ConsentError                   a recipe that the owner has not approved, or refused
    ├── DataFolderError                the image folder: what is wrong and in which file
    ├── TrainingError                  a recipe or a network that cannot be trained here
    ├── GateError                      a shard that must not leave this machine
    ├── ReleaseError                   a decision about a shard that contradicts the one made, or is of the wrong form
    ├── JobStateError                  a step that a job's state does not allow
    ├── AbandonedError                 the daemon that started this process has ended; the job stays as it is
    ├── PeerLostError                  a process that trained with this one has ended; the job can be taken up again
    ├── JournalError                   the journal was altered, or its file and the database differ
    ├── StorageError                   the disk: not readable or not writable
    │   └── DiskFullError              no space is left; once there is, the same thing goes on
    ├── EngineStartError               a child of the daemon that cannot be started
    └── ExchangeError                  never raised itself
        ├── UnreachableError           no answer: worth another try
        ├── NotApprovedError           the coordinator's operator has not let this party in yet
        ├── AnswerError                an answer that makes no sense
        ├── LogAlarmError              the log or the roster went back, forked or was rewritten; evidence is kept
        └── RefusedByCoordinatorError  an answer, and it is no: another try changes nothing
"""


class ClientError(Exception):
    """Base of everything this package raises on purpose."""


class HomeError(ClientError):
    """The home folder is absent, already joined, or not a home."""


class BusyError(HomeError):
    """Another daemon runs on the same home."""


class ConfigError(ClientError):
    """A field of config.yaml is missing, unknown or out of range."""


class InviteError(ClientError):
    """The invite is garbled, out of date, or its fingerprint is another one."""


class ContractProblemError(ClientError):
    """The contract is unknown, not this party's, not signed by both, or does not allow what was asked."""


class ConsentError(ClientError):
    """The owner has not approved the recipe, or refused it."""


class DataFolderError(ClientError):
    """The image folder is missing, unreadable or mixed; the folder or file is named."""


class TrainingError(ClientError):
    """The recipe cannot be trained here."""


class GateError(ClientError):
    """A measured fact forbids that the shard leaves this machine."""


class ReleaseError(ClientError):
    """A decision about a shard contradicts the one that was made, or its reason is of the wrong form."""


class JobStateError(ClientError):
    """The job is unknown, or already final."""


class AbandonedError(ClientError):
    """The daemon that started this process has ended; the job stays as it is."""


class PeerLostError(ClientError):
    """A process that trained together with this one has ended; the job can be taken up again."""


class JournalError(ClientError):
    """An entry of the journal was altered, removed, added, moved or cut off; where is named."""


class StorageError(ClientError):
    """The disk refuses to read or write."""


class DiskFullError(StorageError):
    """No space is left on the disk; nothing was half-written, and a job can be taken up once there is some."""


class EngineStartError(ClientError):
    """A child process cannot be started."""


class ExchangeError(ClientError):
    """Base of what goes wrong between this party and the coordinator."""


class UnreachableError(ExchangeError):
    """No answer from the coordinator; the same call may succeed later."""


class NotApprovedError(ExchangeError):
    """The coordinator's operator has not approved this party yet; the same command goes on later."""


class AnswerError(ExchangeError):
    """The coordinator's answer contradicts what was asked or sent."""


class LogAlarmError(ExchangeError):
    """The coordinator's log or roster contradicts what this party saw of it before."""


class RefusedByCoordinatorError(ExchangeError):
    """The coordinator answered and refused, with its own one-line reason.

    Args:
        code: gRPC status name, such as ``PERMISSION_DENIED``.
        reason: the coordinator's line.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"the coordinator refused: {reason} ({code})")
        self.code = code
        self.reason = reason
