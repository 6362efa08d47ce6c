"""The XenStore protocol between the agent in a guest and the host: its nodes and their values.

Each node below the guest's own ``data/lamplighter`` holds one line of UTF-8 text. The guest writes

    version     1 0.2.0                      the protocol's number and the agent's version
    ready       1                            or why it is not: 0 10-database: exit status 1
    progress    40 stopping postgresql       percent or -, and what the guest is doing
    more        k3 60 rolling back           a request for more time: id, seconds, reason
    forced      poweroff not off after 150 s the guest forces its own end now, and why

and the host, once the guest has written its version,

    asked       poweroff 180 4711            the request, the seconds until the host destroys the
                                             guest, and the request's number
    answer      k3 granted 210               the seconds that are left now
                k3 refused 30 s are left...  why not
    granted     60                           the seconds granted in total

Neither side trusts the other's values: anybody may have written them. A value that is longer than
``VALUE_MAX`` bytes, malformed or not printable is ignored: its parser returns None. The agent ships
this module, so it must run on Python 3.9.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The version of this protocol: the first field of ``version``.
PROTOCOL = 1

#: The longest valid value, in bytes; a longer one is ignored.
VALUE_MAX = 200

#: The most seconds that can be requested, granted or announced: a day.
SECONDS_MAX = 86400

#: Request numbers are below this; then they start from 0 again.
NUMBERS = 100000

#: The nodes that the guest writes, below ``data/lamplighter``, and those that the host writes.
GUEST_NODES = ("version", "ready", "progress", "more", "forced")

HOST_NODES = ("asked", "answer", "granted")

#: The requests of a host, and the ways in which a guest may force its own end.
REQUESTS = ("poweroff", "reboot", "halt")

# The forms of the values. Each is compiled when the first value of its kind is read: most guests
# have no agent, and a command that only looks starts sooner.
_VERSION = r"([0-9]{1,3}) ([A-Za-z0-9][A-Za-z0-9.+~-]{0,31})"

_READY = r"([01])(?: (.+))?"

_PROGRESS = r"([0-9]{1,3}|-) (.+)"

_MORE = r"([A-Za-z0-9]{1,16}) ([0-9]{1,5})(?: (.+))?"

_FORCED = r"(poweroff|reboot|halt)(?: (.+))?"

_ASKED = r"(poweroff|reboot|halt) ([0-9]{1,5})(?: ([0-9]{1,5}))?"

_GRANTED = r"[0-9]{1,5}"

_ANSWER = r"([A-Za-z0-9]{1,16}) (?:granted ([0-9]{1,5})|refused (.+))"


class Progress(NamedTuple):
    """How far a guest's shutdown has come, as it reports; ``percent`` is None if not given."""

    text: str
    percent: int | None = None

    def __str__(self) -> str:
        return self.text if self.percent is None else f"{self.text}, {self.percent} %"


class TimeRequest(NamedTuple):
    """A guest's request for ``seconds`` more. A new ``id`` makes it a new request."""

    id: str
    seconds: int
    why: str = ""


class Forced(NamedTuple):
    """A guest's report that it forces its own end: a ``poweroff``, ``reboot`` or ``halt``."""

    request: str
    why: str = ""


class DeadlineNote(NamedTuple):
    """The host's request, and in how many seconds it will destroy the guest.

    A new ``number`` makes it a new request, whose seconds count from when it was written.
    """

    request: str
    seconds: int
    number: int = 1


class Answer(NamedTuple):
    """The host's answer to a request for more time.

    ``left`` is how many seconds the guest has now; None: it was refused, and ``why`` is the reason.
    """

    id: str
    left: int | None
    why: str = ""


class Grants(NamedTuple):
    """What the host's runs have granted a guest so far.

    ``answered`` is the id of the last request answered, ``granted`` the seconds granted in total.
    """

    answered: str = ""
    granted: int = 0


NO_GRANTS = Grants()


class AgentStatus(NamedTuple):
    """Everything that the agent in a guest reports.

    ``ready`` is None when it has not been reported; ``waits_for`` is why the guest is not ready.
    ``garbled`` names the nodes whose values are invalid.
    """

    version: str
    ready: bool | None = None
    waits_for: str = ""
    progress: Progress | None = None
    more: TimeRequest | None = None
    forced: Forced | None = None
    garbled: tuple[str, ...] = ()

    def doing(self) -> str:
        """Return what the guest reports about its shutdown, as text; empty for nothing."""
        if self.forced is not None:
            why = f": {self.forced.why}" if self.forced.why else ""
            return f"forces its own {self.forced.request}{why}"
        return str(self.progress) if self.progress is not None else ""


def parse_agent_nodes(values: Mapping[str, bytes | None]) -> AgentStatus | None:
    """Return what a guest reports, given the values of ``GUEST_NODES``; None: it has no agent.

    A guest whose ``version`` is invalid has no agent: its other nodes are not parsed.
    """
    version = parse_version(values.get("version"))
    if version is None:
        return None
    ready, progress = parse_ready(values.get("ready")), parse_progress(values.get("progress"))
    more, forced = parse_more(values.get("more")), parse_forced(values.get("forced"))
    parsed = {"ready": ready, "progress": progress, "more": more, "forced": forced}
    garbled = tuple(name for name, value in parsed.items() if values.get(name) and value is None)
    is_ready, waits_for = ready if ready is not None else (None, "")
    return AgentStatus(version, is_ready, waits_for, progress, more, forced, garbled)


def parse_version(value: bytes | None) -> str | None:
    """Return the version of an agent that speaks this protocol, or None."""
    match = _match(_VERSION, value)
    return match[2] if match is not None and int(match[1]) == PROTOCOL else None


def parse_ready(value: bytes | None) -> tuple[bool, str] | None:
    """Return whether the guest is ready and what it waits for, or None."""
    match = _match(_READY, value)
    return (match[1] == "1", match[2] or "") if match is not None else None


def parse_progress(value: bytes | None) -> Progress | None:
    """Return how far the guest's shutdown has come, or None."""
    match = _match(_PROGRESS, value)
    if match is None:
        return None
    if match[1] == "-":
        return Progress(match[2])
    percent = int(match[1])
    return Progress(match[2], percent) if percent <= 100 else None


def parse_more(value: bytes | None) -> TimeRequest | None:
    """Return a request for more time, or None."""
    match = _match(_MORE, value)
    if match is None or not 1 <= int(match[2]) <= SECONDS_MAX:
        return None
    return TimeRequest(match[1], int(match[2]), match[3] or "")


def parse_forced(value: bytes | None) -> Forced | None:
    """Return the guest's report that it forces its own end, or None."""
    match = _match(_FORCED, value)
    return Forced(match[1], match[2] or "") if match is not None else None


def parse_grants(answer: bytes | None, granted: bytes | None) -> Grants:
    """Return what earlier runs have granted; the guest may have written these nodes, too."""
    last = parse_answer(answer)
    digits = _match(_GRANTED, granted)
    seconds = min(SECONDS_MAX, int(digits[0])) if digits is not None else 0
    return Grants("" if last is None else last.id, seconds)


def quoted(text: str) -> str:
    """Return a guest's text in double quotes for a message; it cannot end the quotes itself."""
    return '"{}"'.format(text.replace('"', "'"))


def parse_deadline_note(value: bytes | None) -> DeadlineNote | None:
    """Return the host's request and its deadline, or None."""
    match = _match(_ASKED, value)
    return DeadlineNote(match[1], int(match[2]), int(match[3] or 1)) if match is not None else None


def parse_answer(value: bytes | None) -> Answer | None:
    """Return the host's answer to a request for more time, or None."""
    match = _match(_ANSWER, value)
    if match is None:
        return None
    return Answer(match[1], int(match[2]) if match[2] else None, match[3] or "")


def encode_version(version: str) -> bytes:
    """Return the value of ``version``."""
    return f"{PROTOCOL} {version}".encode("ascii")


def encode_ready(*, ready: bool, waits_for: str = "") -> bytes:
    """Return the value of ``ready``."""
    return b"1" if ready else _line("0", waits_for)


def encode_progress(text: str, percent: int | None = None) -> bytes:
    """Return the value of ``progress``; the percentage is clamped to 0 to 100."""
    number = "-" if percent is None else str(min(100, max(0, percent)))
    return _line(number, text.strip() or "...")


def encode_more(more: TimeRequest) -> bytes:
    """Return the value of ``more``."""
    return _line(f"{more.id} {more.seconds}", more.why)


def encode_forced(forced: Forced) -> bytes:
    """Return the value of ``forced``."""
    return _line(forced.request, forced.why)


def encode_deadline_note(asked: DeadlineNote) -> bytes:
    """Return the value of ``asked``."""
    number = asked.number % NUMBERS
    return f"{asked.request} {_seconds(asked.seconds)} {number}".encode("ascii")


def encode_answer(answer: Answer) -> bytes:
    """Return the value of ``answer``."""
    if answer.left is not None:
        return f"{answer.id} granted {_seconds(answer.left)}".encode("ascii")
    return _line(f"{answer.id} refused", answer.why.strip() or "no reason was given")


def encode_granted(seconds: int) -> bytes:
    """Return the value of ``granted``."""
    return str(_seconds(seconds)).encode("ascii")


def _seconds(seconds: int) -> int:
    return min(SECONDS_MAX, max(0, seconds))


def _line(first: str, text: str) -> bytes:
    """Return one printable line, cut to ``VALUE_MAX`` bytes; a character cut in two is dropped."""
    text = "".join(c if c.isprintable() else "?" for c in text).strip()
    line = f"{first} {text}" if text else first
    return line.encode("utf-8", "replace")[:VALUE_MAX].decode("utf-8", "ignore").strip().encode()


def _match(form: str, value: bytes | None) -> re.Match[str] | None:
    if not value or len(value) > VALUE_MAX:
        return None
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return re.fullmatch(form, text) if text.isprintable() else None


def describe_guest(status: AgentStatus) -> str:
    """Return a guest's condition as text: whether it is ready, and what it is doing."""
    shutdown = status.doing()
    if status.ready is False:
        ready = f"not ready: {status.waits_for}" if status.waits_for else "not ready"
        return f"{ready}; {shutdown}" if shutdown else ready
    return shutdown or ("ready" if status.ready else f"agent {status.version}")
