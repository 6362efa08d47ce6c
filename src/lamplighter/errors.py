"""Lamplighter's exceptions: each has a stable code, an exit status, a message and a hint.

    LamplighterError
    |-- UsageError              usage           2    the command line is wrong
    |-- ConfigurationError      configuration   78   a file is wrong: where, what was expected
    |   `-- DefinitionError     definition      78   one domain's definition is wrong
    |-- Unreachable             unreachable     69   a service cannot be reached
    |   |-- ToolstackUnreachable
    |   |-- XenStoreUnreachable
    |   `-- ProtocolError       protocol        69   bytes that are not XenStore's protocol
    |-- HostBusy                busy            75   another process holds the host
    |-- CallFailed              call-failed     1    one call to the toolstack failed
    |   |-- CallTimedOut        call-timed-out  1    ... or did not return in time
    |   `-- CallNotStarted      call-not-begun  1    ... or was not begun: the run has to end
    |-- JournalError            journal         1    the journal cannot be read or written
    |   |-- JournalDamaged      journal-damaged 1    ... its file is damaged
    |   `-- JournalForeign      journal-foreign 1    ... its file is not ours, or is newer
    |-- OutputError             output          1    standard output cannot be written
    `-- XenStoreError           xenstore        1    XenStore answered with an error
        `-- StoreConflict       xenstore        1    (EAGAIN) retry the transaction

Each class has a stable ``code`` (for JSON and logs) and the exit status of a command that fails
with it. Each instance has a message (what is wrong, and where) and a hint (what to do).
"""

from __future__ import annotations


class LamplighterError(Exception):
    """An error with a stable code, a message for a person and a hint what to do next."""

    code = "error"
    exit_status = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    @property
    def full_message(self) -> str:
        """The message, and the hint on a line below it."""
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(LamplighterError):
    """The command line asks for something that does not exist or makes no sense."""

    code = "usage"
    exit_status = 2


class ConfigurationError(LamplighterError):
    """A configuration file is wrong; ``where`` is the place as text: a file or a key.

    ``line`` and ``column`` count from 1; when given, they are appended to ``self.where``, and
    ``self.file`` is the place without them.
    """

    code = "configuration"
    exit_status = 78

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        line: int | None = None,
        column: int | None = None,
        hint: str = "",
    ) -> None:
        self.file, self.line, self.column = where, line, column
        self.where = ":".join(str(part) for part in (where, line, column) if part is not None)
        super().__init__(f"{self.where}: {message}" if where else message, hint=hint)
        self.problem = message


class DefinitionError(ConfigurationError):
    """One domain's definition is wrong; the other domains are not affected."""

    code = "definition"


class Unreachable(LamplighterError):
    """A service this host needs cannot be reached, so nothing is known and nothing is assumed."""

    code = "unreachable"
    exit_status = 69


class ToolstackUnreachable(Unreachable):
    """The toolstack's program is missing, or cannot reach the hypervisor at all."""

    code = "toolstack-unreachable"


class XenStoreUnreachable(Unreachable):
    """XenStore's socket is missing, refuses the connection, or closed during a request."""

    code = "xenstore-unreachable"


class HostBusy(LamplighterError):
    """Another process, usually another run, holds the host."""

    code = "busy"
    exit_status = 75


class CallFailed(LamplighterError):
    """One call to the toolstack failed; only the next listing shows what it did."""

    code = "call-failed"


class CallTimedOut(CallFailed):
    """One call to the toolstack did not return before its deadline; it may still take effect."""

    code = "call-timed-out"


class CallNotStarted(CallFailed):
    """One call to the toolstack was not begun, because the run was asked to end first."""

    code = "call-not-begun"


class JournalError(LamplighterError):
    """The journal cannot be read or written."""

    code = "journal"


class JournalDamaged(JournalError):
    """The journal's file is damaged: its content cannot be relied on."""

    code = "journal-damaged"


class JournalForeign(JournalError):
    """The journal's file belongs to a newer Lamplighter or another program; it is left alone."""

    code = "journal-foreign"


class OutputError(LamplighterError):
    """Standard output cannot be written: the command has done its work, its output is lost."""

    code = "output"


class XenStoreError(LamplighterError):
    """XenStore answered a request with an error; ``name`` is its name, such as ``ENOENT``."""

    code = "xenstore"

    def __init__(self, name: str, message: str = "", *, hint: str = "") -> None:
        super().__init__(message or name, hint=hint)
        self.name = name


class StoreConflict(XenStoreError):
    """A transaction conflicted with another writer (``EAGAIN``): repeat it from the start."""

    def __init__(self, message: str = "the transaction conflicted with another writer") -> None:
        super().__init__("EAGAIN", message)


class ProtocolError(Unreachable):
    """The peer sent bytes that are not XenStore's protocol; the connection must be closed."""

    code = "protocol"
