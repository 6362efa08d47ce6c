"""What a simulated guest is like: its temper and its times, from the keys of its definition.

    embedded_guest = "slow"         the temper; see ``Behaviour``
    embedded_boot = "3s"            from its creation until its kernel is up
    embedded_shutdown = "2s"        from the request until it is off; "never" is possible
    embedded_after = "20s"          quits, crashes: does so by itself, so long after it came up
    embedded_advertises = "no"      says in XenStore that it can be asked to power off
    embedded_every = "1s"           noisy: how often it makes noise
    embedded_linger = "10s"         stays listed as dying for so long after it was destroyed
    embedded_react = "5s"           its kernel notices a request so late, or "never"
    embedded_agent = "yes"          lamplighter-agent runs in it, and with it:
    embedded_deadline = "60s"       so long after it was asked it forces its own end, or "never";
                                    else shortly before the host would destroy it
    embedded_script = "3s"          its administrator's script takes so long, and says how far it is
    embedded_more = "30s"           the script asks the host for so much more time

``xl`` ignores keys it does not know, so such a definition is good for a real host, too.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from lamplighter.errors import DefinitionError
from lamplighter.formats.durations import DURATION_FORMS, parse_duration
from lamplighter.formats.xlcfg import as_text
from lamplighter.model.domain import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamplighter.formats.xlcfg import XlConfig

PREFIX = "embedded_"

#: No time of a guest is longer than a day.
LONGEST = 86400.0


class Behaviour(Enum):
    """How a guest behaves when it is asked to power off, and otherwise."""

    PROMPT = "prompt"  # as it should be
    SLOW = "slow"  # the same, but takes its time
    DEAF = "deaf"  # never reads XenStore and feels no button
    HANGS = "hangs"  # acknowledges, and then nothing happens
    IGNORES = "ignores-while-booting"  # what was asked before it was up is lost
    REBOOTS = "reboots"  # reboots instead, once; its next incarnation obeys
    CRASHES = "crashes"  # crashes while it shuts down, or by itself
    QUITS = "quits"  # powers off by itself
    NOISY = "noisy"  # writes random bytes over the request, but obeys what it sees
    NO_DRIVERS = "no-drivers"  # HVM: knows nothing of XenStore, obeys the power button


@dataclass(frozen=True, slots=True)
class GuestProfile:
    """One guest's temper and times, in host seconds. Infinite is never.

    ``script`` and ``more`` are 0 where there is no script, or it asks for nothing.
    """

    behaviour: Behaviour = Behaviour.PROMPT
    boot: float = 2.0
    shutdown: float = 1.0
    after: float = math.inf
    every: float = 1.0
    linger: float = 0.0
    react: float = 0.0
    advertises: bool = True
    agent: bool = False
    deadline: float | None = None
    script: float = 0.0
    more: float = 0.0


#: What a temper is like when the definition says no more.
_TYPICAL = {
    Behaviour.SLOW: GuestProfile(boot=5.0, shutdown=15.0),
    Behaviour.DEAF: GuestProfile(advertises=False),
    Behaviour.HANGS: GuestProfile(shutdown=math.inf),
    Behaviour.IGNORES: GuestProfile(boot=10.0),
    Behaviour.QUITS: GuestProfile(after=10.0),
    Behaviour.NO_DRIVERS: GuestProfile(advertises=False),
}

_TIMES = (
    *("boot", "shutdown", "after", "every", "linger", "react"),
    *("deadline", "script", "more"),
)
_ENDLESS = ("embedded_shutdown", "embedded_after", "embedded_react", "embedded_deadline")
_KNOWN = ("guest", "advertises", "agent", *_TIMES)


def read_profile(config: XlConfig, kind: Kind) -> GuestProfile:
    """Read the keys that begin with ``embedded_``; raise ``DefinitionError``."""
    for key in config.values:
        if key.startswith(PREFIX) and key.removeprefix(PREFIX) not in _KNOWN:
            known = [PREFIX + word for word in _KNOWN]
            raise _wrong(config, key, "there is no such key", _nearest(key, known))
    behaviour = _behaviour(config)
    if behaviour is Behaviour.NO_DRIVERS and kind is not Kind.HVM:
        hint = 'add type = "hvm", or choose another temper'
        raise _wrong(config, "embedded_guest", '"no-drivers" is for HVM domains', hint)
    typical = _TYPICAL.get(behaviour, GuestProfile())
    times = {name: _time(config, PREFIX + name, getattr(typical, name)) for name in _TIMES}
    return GuestProfile(
        behaviour,
        advertises=_flag(config, "embedded_advertises", typical.advertises),
        agent=_flag(config, "embedded_agent", typical.agent),
        **times,
    )


def _behaviour(config: XlConfig) -> Behaviour:
    text = _text(config, "embedded_guest", Behaviour.PROMPT.value)
    try:
        return Behaviour(text)
    except ValueError:
        known = [behaviour.value for behaviour in Behaviour]
        message = f"there is no guest {text!r}: there are {', '.join(known)}"
        raise _wrong(config, "embedded_guest", message, _nearest(text, known)) from None


def _time(config: XlConfig, key: str, otherwise: float) -> float:
    if key not in config.values:
        return otherwise
    text = _text(config, key)
    if text == "never" and key in _ENDLESS:
        return math.inf
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise _wrong(config, key, f"{text!r}: {error}") from None
    least = 0.01 if key == "embedded_every" else 0.0
    if not least <= seconds <= LONGEST:
        raise _wrong(config, key, f"expected {least:g} to {LONGEST:g} seconds, not {text!r}")
    return seconds


def _flag(config: XlConfig, key: str, otherwise: bool) -> bool:
    text = _text(config, key, "yes" if otherwise else "no")
    if text not in ("yes", "no", "1", "0"):
        raise _wrong(config, key, f'expected "yes" or "no", not {text!r}')
    return text in ("yes", "1")


def _text(config: XlConfig, key: str, otherwise: str = "") -> str:
    value = config.values.get(key, otherwise)
    if isinstance(value, list):
        forms = DURATION_FORMS if key.removeprefix(PREFIX) in _TIMES else "a string"
        raise _wrong(config, key, f"expected {forms}, not a list")
    return as_text(value)


def _nearest(given: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(given, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"


def _wrong(config: XlConfig, key: str, message: str, hint: str = "") -> DefinitionError:
    where = config.where(key)
    return DefinitionError(
        f"{key}: {message}", where=where.file, line=where.line, column=where.column, hint=hint
    )
