"""Every error Lamplighter raises on purpose.

    LamplighterError
    |-- UsageError              usage           2    the command line is wrong
    |-- ConfigurationError      configuration   78   a file is wrong: where, what was expected
    |   `-- DefinitionError     definition      78   one domain's definition is wrong
    |-- Unreachable             unreachable     69   a service cannot be reached
    |   |-- ToolstackUnreachable
    |   |-- XenStoreUnreachable
    |   `-- ProtocolError       protocol        69   bytes that are not XenStore's protocol
    |-- HostBusy                busy            75   another run holds the host
    |-- CallFailed              call-failed     1    one call to the toolstack failed
    |   `-- CallTimedOut        call-timed-out  1    ... or did not return in time
    |-- JournalError            journal         1    the record cannot be kept
    |   |-- JournalDamaged      journal-damaged 1    ... its file is damaged
    |   `-- JournalForeign      journal-foreign 1    ... its file is not this version's
    |-- OutputError             output          1    the answer cannot be written
    `-- XenStoreError           xenstore        1    XenStore answered with an error's name
        `-- StoreConflict       xenstore        1    (EAGAIN) a transaction must be tried again

Each class has a stable ``code`` (it goes into JSON and logs) and the exit status of the command
that dies of it. Each instance has a message (what is wrong, and where) and a hint (what to do).
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


class UsageError(LamplighterError):
    """The command line asks for something that does not exist or makes no sense."""

    code = "usage"
    exit_status = 2


class ConfigurationError(LamplighterError):
    """A configuration file is wrong; ``where`` is the place as text: a file or a key.

    With a ``line`` (and a ``column``), counted from 1, ``where`` is ``file`` and these.
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
    """One domain's definition is wrong. The other domains go on."""

    code = "definition"


class Unreachable(LamplighterError):
    """A service this host needs cannot be reached: nothing is known, so nothing is believed."""

    code = "unreachable"
    exit_status = 69


class ToolstackUnreachable(Unreachable):
    """The toolstack's program is missing, or cannot speak with the hypervisor at all."""

    code = "toolstack-unreachable"


class XenStoreUnreachable(Unreachable):
    """XenStore's socket is missing, refuses, or closed while a request was under way."""

    code = "xenstore-unreachable"


class HostBusy(LamplighterError):
    """Another run holds the host."""

    code = "busy"
    exit_status = 75


class CallFailed(LamplighterError):
    """One call to the toolstack failed; what it did is told by the next observation."""

    code = "call-failed"


class CallTimedOut(CallFailed):
    """One call to the toolstack did not return before its deadline; it may still act."""

    code = "call-timed-out"


class CallNotBegun(CallFailed):
    """One call to the toolstack was not begun, because the run was told to end before it."""

    code = "call-not-begun"


class JournalError(LamplighterError):
    """The journal cannot be read or written."""

    code = "journal"


class JournalDamaged(JournalError):
    """The journal's file is not whole: what it says cannot be relied on."""

    code = "journal-damaged"


class JournalForeign(JournalError):
    """The journal's file is a newer Lamplighter's, or another program's: nobody touches it."""

    code = "journal-foreign"


class OutputError(LamplighterError):
    """Standard output cannot be written: what the command did is done, its answer is lost."""

    code = "output"


class XenStoreError(LamplighterError):
    """XenStore answered a request with an error; ``name`` is its name, such as ``ENOENT``."""

    code = "xenstore"

    def __init__(self, name: str, message: str = "", *, hint: str = "") -> None:
        super().__init__(message or name, hint=hint)
        self.name = name


class StoreConflict(XenStoreError):
    """A transaction conflicted with another writer (``EAGAIN``): do it again from its start."""

    def __init__(self, message: str = "the transaction conflicted with another writer") -> None:
        super().__init__("EAGAIN", message)


class ProtocolError(Unreachable):
    """The peer sent bytes that are not XenStore's protocol; the connection is of no more use."""

    code = "protocol"
