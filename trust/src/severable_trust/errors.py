"""What can be wrong with something another party sent, as one tree.

    TrustError                 base, never raised itself
    ├── MalformedError         the bytes are not the format they should be
    ├── SignatureError         a signature is missing, unknown or wrong
    ├── StatementError         well signed, but it says the wrong thing: type, subject, field, mismatch
    ├── LogError               an inclusion proof, a consistency proof or a checkpoint does not hold
    ├── ContractError          the contract does not allow this, or not now
    ├── AdmissionError         a shard is refused, at the step it names
    └── SignerError            a key of one's own, behind a URI, cannot be used

Every message is one printable line that says what is wrong and where, whatever the refused bytes held. A wrong call
of this package (an argument of the wrong kind) raises ValueError instead: that is the caller's fault.
"""

MAX_MESSAGE = 400  # characters


class TrustError(Exception):
    """Base of everything this package refuses; catch it, never raise it."""

    def __init__(self, message: str) -> None:
        # Messages quote what was received: it must not write lines of its own into a log, or move a terminal's cursor.
        line = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in message)
        super().__init__(line if len(line) <= MAX_MESSAGE else line[: MAX_MESSAGE - 3] + "...")


class MalformedError(TrustError):
    """The bytes are not the format they should be."""


class SignatureError(TrustError):
    """A signature is missing, made by an unknown key, or wrong."""


class StatementError(TrustError):
    """The signature holds but the statement is not the one expected: its type, its subject or a field."""


class LogError(TrustError):
    """An inclusion proof, a consistency proof or a checkpoint does not hold."""


class ContractError(TrustError):
    """The contract does not allow this action, or is not in force, or cannot go from one state to another."""


class SignerError(TrustError):
    """A key of one's own that a token or a key service holds cannot be used: scheme, library, PIN, or another key."""


class AdmissionError(TrustError):
    """A shard is refused.

    Attributes:
        step: the verification step that refused it, as `severable_trust.verifier` numbers them.
        reason: what was wrong, in one line.
    """

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(f"shard refused at step {step}: {reason}")
        self.step = step
        self.reason = reason
