"""Parsers of what ``xl`` prints and logs: listings, shutdown reasons, and its error messages.

``xl list -v`` prints a table with a row for each domain (tools/xl/xl_list.c, list_domains). All
columns but the name are single words of known form, so a row is read from its right end. libxl
allows every name: an empty one, blanks, a newline, text that looks like columns. A line without a
UUID is therefore the beginning of a name that goes on in the next line. A listing with a row that
is not understood is rejected with ``CallFailed``, because a domain that was overlooked would be
taken to be off.
"""

from __future__ import annotations

import re
from itertools import dropwhile
from typing import TYPE_CHECKING
from uuid import UUID

from lamplighter.errors import CallFailed
from lamplighter.model.domain import NAMELESS, DomainInfo, ShutdownReason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: How much of something unexpected is quoted, in characters.
QUOTED = 200

_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

#: ``%-40s %5d %5lu %5d     %c%c%c%c%c%c  %8.1f UUID %8x``, then the security label and more. The
#: state has a letter for each flag ``rbps``, one of ``shutdown_reason_letters`` (``-rscwS`` in Xen
#: 4.17 to 4.22, or ``?``), and ``d``. A later Xen may know another reason: any letter is one.
#: The name matches greedily: if it looks like columns, the last ones count.
_ROW = re.compile(
    r"(?P<name>.*) (?P<domid>[0-9]{1,5}) +[0-9]+ +[0-9]+\s+"
    r"(?P<state>[r-][b-][p-][s-][A-Za-z?-][d-]) +(?P<seconds>[0-9.]+) +"
    rf"(?P<uuid>{_UUID}) +(?P<reason>-|[0-9a-f]{{1,8}})(?: +\S.*)?"
)

#: What an xl process logs when it begins to wait for a domain, and when that has shut down.
_BEGUN = re.compile(
    r"Waiting for domain .* \(domid (?P<domid>[0-9]{1,5})\) to die"
    r"(?: \[pid (?P<pid>[0-9]{1,10})\])?"
)
_SHUT_DOWN = re.compile(
    r"Domain (?P<domid>[0-9]{1,5}) has shut down, reason code (?P<reason>-?[0-9]{1,10}) "
)

#: How lines begin that do not say what went wrong.
_PREAMBLE = ("Parsing config from", "WARNING:", "libxl: warning:", "libxl: notice:")

#: The place in libxl's sources and the domid before a message: no help to an administrator.
_ORIGIN = re.compile(
    r"^(?:(?:libxl|xc|xencall|libxl_ctx): )?(?:(?:error|panic|detail): )*"
    r"(?:\w+\.c:[0-9]+: ?(?:\w+: )?)?(?:Domain [0-9]+:)?\s*"
)

#: The xl commands that create a domain.
_CREATING = ("create", "restore", "migrate-receive")

#: The last one appears when something else destroyed the domain while xl was about to.
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
    """Return the domains that ``xl list -v`` printed, by domid; ``CallFailed`` for garbage."""
    heading, *lines = text.removesuffix("\n").split("\n")
    if not heading.startswith("Name ") or "UUID" not in heading:
        raise CallFailed(f"xl's listing does not begin with its heading but with {_quote(heading)}")
    domains: list[DomainInfo] = []
    begun = ""  # the lines of a name that are not its last one
    for line in lines:
        match = _ROW.fullmatch(line.rstrip())
        if match is None:
            if re.search(_UUID, line):
                raise CallFailed(f"a line of xl's listing cannot be read: {_quote(line)}")
            begun += f"{line}\n"
            continue
        state, code, name = match["state"], match["reason"], f"{begun}{match['name'].rstrip()}"
        begun = ""
        shutdown = None
        if state[3] == "s":
            shutdown = ShutdownReason.UNKNOWN if code == "-" else _reason(int(code, 16))
        info = DomainInfo(
            int(match["domid"]),
            UUID(match["uuid"]),
            "" if name == NAMELESS else name,
            shutdown,
            dying=state[5] == "d",
            paused=state[2] == "p",
            has_run=match["seconds"].strip("0.") != "",
        )
        domains.append(info)
    if begun:
        raise CallFailed(f"xl's listing ends with what cannot be read: {_quote(begun)}")
    domids = {info.domid for info in domains}
    if 0 not in domids:
        raise CallFailed("xl's listing does not hold the control domain")
    if len(domids) != len(domains):
        raise CallFailed("xl's listing holds one domid twice")
    return sorted(domains, key=lambda info: info.domid)


def parse_shutdown_reason(log: str, domid: int) -> ShutdownReason | None:
    """Return why a domain shut down, from the log of the xl process that waited for it.

    None when the log does not say, or only for an earlier incarnation: what xl logged of this domid
    before it began to wait (again) is about another one, or about the one before a soft reset.
    """
    found = None
    for line in log.splitlines():
        if (has_run := _BEGUN.match(line)) and int(has_run["domid"]) == domid:
            found = None
        elif (ended := _SHUT_DOWN.match(line)) and int(ended["domid"]) == domid:
            found = _reason(int(ended["reason"]))
    return found


def reaper_pid(log: str, domid: int) -> int | None:
    """Return the pid of the process that last waited for a domain's end; None: none is logged."""
    found = None
    for line in log.splitlines():
        if (has_run := _BEGUN.match(line)) and int(has_run["domid"]) == domid and has_run["pid"]:
            found = int(has_run["pid"])
    return found


def created_from(words: Sequence[str]) -> list[str]:
    """Return the absolute paths that a command line gives to ``xl create``; none for any other.

    The command may follow another one that starts it, such as ``systemd-run``.
    """
    for verb, following in _calls(words):
        if verb == "create":
            return [word for word in following if word.startswith("/")]
    return []


def _calls(words: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the xl command after each ``xl`` and its global options, and the words after it."""
    for at, word in enumerate(words):
        if word.rpartition("/")[2] == "xl":
            rest = list(dropwhile(lambda option: option.startswith("-"), words[at + 1 :]))
            if rest:
                yield rest[0], rest[1:]


def may_create(words: Sequence[str], path: str) -> bool:
    """Return whether a process with this command line may be creating a domain from this file.

    The path in it may be relative or that of a link, so only the file's name decides. A process
    that restores or receives a domain always may.
    """
    name = path.rpartition("/")[2]
    for verb, following in _calls(words):
        if verb in _CREATING:
            return verb != "create" or any(
                word.replace("=", "/").rpartition("/")[2] == name for word in following
            )
    return False


def error_message(stderr: str) -> str:
    """Return the one line of a failed xl's messages that says what went wrong.

    libxl reports the cause first and what followed from it afterwards.
    """
    lines = [line.strip() for line in stderr.splitlines()]
    messages = [line for line in lines if line and not line.startswith(_PREAMBLE)]
    for line in messages:
        bare = _ORIGIN.sub("", line, count=1).rstrip(".")
        if bare:
            return _quote(bare)[1:-1]
    return "it did not say why"


def is_no_domain(stderr: str) -> bool:
    """Return whether xl reported that there is no such domain."""
    return _NO_DOMAIN.search(stderr) is not None


def is_no_hypervisor(stderr: str) -> bool:
    """Return whether xl could not reach the hypervisor, or XenStore, at all."""
    return any(words in stderr for words in _NO_HYPERVISOR)


def _reason(code: int) -> ShutdownReason:
    try:
        return ShutdownReason(code)
    except ValueError:
        return ShutdownReason.UNKNOWN


def _quote(text: str) -> str:
    """Return a shortened text in quotes, without anything that a terminal would interpret."""
    short = text if len(text) <= QUOTED else f"{text[:QUOTED]}…"
    return '"' + "".join(char if char.isprintable() else "?" for char in short) + '"'
