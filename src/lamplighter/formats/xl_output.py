"""What ``xl`` prints and logs: listings to sightings, logs to epitaphs, stderr to one sentence.

``xl list -v`` is a table, one line a domain, and all columns but the name are single words, so a
line is read from its right end. A text that is not wholly understood is no listing at all, because
a domain that was overlooked would be a domain believed off: it raises ``CallFailed``.
"""

from __future__ import annotations

import re
from itertools import dropwhile
from typing import TYPE_CHECKING
from uuid import UUID

from lamplighter.errors import CallFailed
from lamplighter.model.domain import DomainInfo, ShutdownReason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: How much of something unexpected is quoted, in characters.
QUOTED = 200

#: ``NAME ID Mem VCPUs State Time(s) UUID Reason-Code Security-Label [Capabilities]``, as in
#: tools/xl/xl_list.c. The name is greedy: should it look like columns, the last ones count.
_LINE = re.compile(
    r"(?P<name>.*\S) +(?P<domid>[0-9]{1,5}) +[0-9]+ +[0-9]+\s+"
    r"(?P<state>[r-][b-][p-][s-][a-z?-][d-]) +(?P<seconds>[0-9.]+) +"
    r"(?P<uuid>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}) +"
    r"(?P<reason>-|[0-9a-f]{1,8})(?: +\S.*)?"
)

#: What xl prints for a domain whose name XenStore does not have (any more).
_NAMELESS = "(null)"

#: What an xl process logs when it begins to wait for a domain, and when that has shut down.
_BEGUN = re.compile(
    r"Waiting for domain .* \(domid (?P<domid>[0-9]{1,5})\) to die"
    r"(?: \[pid (?P<pid>[0-9]{1,10})\])?"
)
_SHUT_DOWN = re.compile(
    r"Domain (?P<domid>[0-9]{1,5}) has shut down, reason code (?P<reason>-?[0-9]{1,10}) "
)

#: What xl says first is not what went wrong.
_PREAMBLE = ("Parsing config from", "WARNING:", "libxl: warning:", "libxl: notice:")

#: Where in libxl's sources a message comes from, and for which domid: no help to an administrator.
_ORIGIN = re.compile(
    r"^(?:(?:libxl|xc|xencall|libxl_ctx): )?(?:(?:error|panic|detail): )*"
    r"(?:\w+\.c:[0-9]+: ?(?:\w+: )?)?(?:Domain [0-9]+:)?\s*"
)

#: What makes a domain.
_CREATING = ("create", "restore", "migrate-receive")

#: The last one comes of a domain that somebody else has destroyed while xl was about to.
_NO_DOMAIN = re.compile(
    r"Non-exist[ae]nt domain|invalid domain identifier|Getting domain info: No such process"
    r"|xc_domain_destroy failed[^\n]*: No such process"
)

_NO_HYPERVISOR = (
    "cannot init xl context",
    "cannot open libxc handle",
    "Could not obtain handle on privileged command interface",
    "failed to open xenstore",
    "cannot connect to xenstore",
    "xenstore connection",
)


def parse_listing(text: str) -> list[DomainInfo]:
    """Read what ``xl list -v`` prints. ``CallFailed`` for garbage."""
    heading, *lines = text.removesuffix("\n").split("\n")
    if not heading.startswith("Name ") or "UUID" not in heading:
        raise CallFailed(f"xl's listing does not begin with its heading but with {_quote(heading)}")
    sightings = [_sighting(line) for line in lines]
    domids = [sighting.domid for sighting in sightings]
    if 0 not in domids:
        raise CallFailed("xl's listing does not hold the control domain")
    if len(set(domids)) != len(domids):
        raise CallFailed("xl's listing holds one domid twice")
    return sorted(sightings, key=lambda sighting: sighting.domid)


def parse_epitaph(log: str, domid: int) -> ShutdownReason | None:
    """Return why a domain shut down, from the log of the xl process that waited for it.

    None when it is not told, or only of an incarnation before: what xl logged of this domid
    before it began to wait (again) speaks of another one, or of the one before a soft reset.
    """
    found = None
    for line in log.splitlines():
        if (has_run := _BEGUN.match(line)) and int(has_run["domid"]) == domid:
            found = None
        elif (ended := _SHUT_DOWN.match(line)) and int(ended["domid"]) == domid:
            found = _reason(int(ended["reason"]))
    return found


def parse_reaper(log: str, domid: int) -> int | None:
    """Return the number of the process that waited for a domain's end last; None: none is told."""
    found = None
    for line in log.splitlines():
        if (has_run := _BEGUN.match(line)) and int(has_run["domid"]) == domid and has_run["pid"]:
            found = int(has_run["pid"])
    return found


def created_from(words: Sequence[str]) -> list[str]:
    """Return the absolute paths that a command line gives to ``xl create``; none for any other.

    The command may stand behind another one that starts it, such as ``systemd-run``.
    """
    for verb, following in _calls(words):
        if verb == "create":
            return [word for word in following if word.startswith("/")]
    return []


def _calls(words: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the command of each ``xl`` in a command line, past its global options, and the rest."""
    for at, word in enumerate(words):
        if word.rpartition("/")[2] == "xl":
            rest = list(dropwhile(lambda option: option.startswith("-"), words[at + 1 :]))
            if rest:
                yield rest[0], rest[1:]


def may_create(words: Sequence[str], path: str) -> bool:
    """Say whether a process with this command line may be creating a domain from this file.

    Its path may be a relative one or that of a link, so its name alone decides; of what restores
    or receives a domain, nothing does.
    """
    name = path.rpartition("/")[2]
    for verb, following in _calls(words):
        if verb in _CREATING:
            return verb != "create" or any(
                word.replace("=", "/").rpartition("/")[2] == name for word in following
            )
    return False


def complaint(stderr: str) -> str:
    """Return the one line of a failed xl's messages that says what went wrong.

    libxl tells the cause first and what followed from it afterwards.
    """
    lines = [line.strip() for line in stderr.splitlines()]
    telling = [line for line in lines if line and not line.startswith(_PREAMBLE)]
    for line in telling:
        bare = _ORIGIN.sub("", line, count=1).rstrip(".")
        if bare:
            return _quote(bare)[1:-1]
    return "it did not say why"


def is_no_domain(stderr: str) -> bool:
    """Say whether xl complained that there is no such domain."""
    return _NO_DOMAIN.search(stderr) is not None


def is_no_hypervisor(stderr: str) -> bool:
    """Say whether xl could speak with no hypervisor, or with no XenStore, at all."""
    return any(words in stderr for words in _NO_HYPERVISOR)


def _sighting(line: str) -> DomainInfo:
    match = _LINE.fullmatch(line.rstrip())
    if match is None:
        raise CallFailed(f"a line of xl's listing cannot be read: {_quote(line)}")
    state, code = match["state"], match["reason"]
    shutdown = None
    if state[3] == "s":
        shutdown = ShutdownReason.UNKNOWN if code == "-" else _reason(int(code, 16))
    name = match["name"].rstrip()
    return DomainInfo(
        int(match["domid"]),
        UUID(match["uuid"]),
        "" if name == _NAMELESS else name,
        shutdown,
        dying=state[5] == "d",
        paused=state[2] == "p",
        has_run=match["seconds"].strip("0.") != "",
    )


def _reason(code: int) -> ShutdownReason:
    try:
        return ShutdownReason(code)
    except ValueError:
        return ShutdownReason.UNKNOWN


def _quote(text: str) -> str:
    """Return a short form of a text in quotes, without anything a terminal would obey."""
    short = text if len(text) <= QUOTED else f"{text[:QUOTED]}…"
    return '"' + "".join(char if char.isprintable() else "?" for char in short) + '"'
