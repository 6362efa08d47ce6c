"""Definitions of embedded domains: the xl.cfg keys that matter, and the guest's behaviour.

    embedded_guest = "slow"         how the guest behaves; see ``Behaviour``
    embedded_boot = "3s"            time from its creation until its kernel is up
    embedded_shutdown = "2s"        time from the request until it is off, or "never"
    embedded_after = "20s"          quits, crashes: how long after boot it does so by itself
    embedded_advertises = "no"      whether it advertises in XenStore that it can power off
    embedded_every = "1s"           noisy: interval between its writes
    embedded_linger = "10s"         how long it stays listed as dying after it was destroyed
    embedded_react = "5s"           how late its kernel notices a request, or "never"
    embedded_agent = "yes"          lamplighter-agent runs in it; these keys belong to it:
    embedded_deadline = "60s"       how long after a request it forces its own end, or "never";
                                    by default shortly before the host would destroy it
    embedded_script = "3s"          how long its shutdown script takes, which reports progress
    embedded_more = "30s"           how much more time the script asks the host for

``xl`` ignores keys that it does not know, so such a definition works on a real host, too. Of
xl.cfg's own keys only those that matter for a domain's life cycle are read: name, UUID, type,
memory, and what ``xl`` does after a shutdown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from lamplighter.errors import DefinitionError
from lamplighter.formats.definition import read_definition
from lamplighter.formats.durations import DURATION_FORMS, parse_duration
from lamplighter.formats.suggest import did_you_mean
from lamplighter.formats.xlcfg import XlConfig, as_text, parse, to_number
from lamplighter.model.domain import Kind, ShutdownReason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

PREFIX = "embedded_"

#: The longest time in a definition, in seconds: a day.
SECONDS_MAX = 86400.0

#: The memory of a domain that asks for none, as in libxl, and the most one may have; in MiB.
DEFAULT_MEMORY = 32

MEMORY_MAX = 1 << 24


class Reaction(Enum):
    """What ``xl`` does with a domain that has shut down."""

    DESTROY = "destroy"
    RESTART = "restart"
    PRESERVE = "preserve"
    RENAME_RESTART = "rename-restart"


_REACTIONS = {
    **{reaction.value: reaction for reaction in Reaction},
    # No core is dumped, because a simulated guest has none.
    "coredump-destroy": Reaction.DESTROY,
    "coredump-restart": Reaction.RESTART,
}

#: For each shutdown reason, the key that sets the reaction, and the default.
_ON = {
    ShutdownReason.POWEROFF: ("on_poweroff", Reaction.DESTROY),
    ShutdownReason.REBOOT: ("on_reboot", Reaction.RESTART),
    ShutdownReason.CRASH: ("on_crash", Reaction.DESTROY),
    ShutdownReason.WATCHDOG: ("on_watchdog", Reaction.DESTROY),
}


class Behaviour(Enum):
    """How a guest behaves when it is asked to power off, and otherwise."""

    PROMPT = "prompt"  # obeys at once
    SLOW = "slow"  # obeys, but takes its time
    DEAF = "deaf"  # never reads XenStore and ignores the power button
    HANGS = "hangs"  # acknowledges, and then nothing happens
    IGNORES = "ignores-while-booting"  # requests made before it was up are lost
    REBOOTS = "reboots"  # reboots instead, once; its next incarnation obeys
    CRASHES = "crashes"  # crashes while it shuts down, or by itself
    QUITS = "quits"  # powers off by itself
    NOISY = "noisy"  # writes random bytes over the request, but obeys what it sees
    NO_DRIVERS = "no-drivers"  # HVM: does not use XenStore, obeys the power button


@dataclass(frozen=True, slots=True)
class GuestProfile:
    """How one guest behaves, and its times in host seconds; infinite means never.

    ``script`` is 0 where there is no script, and ``more`` is 0 where it asks for no more time.
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


#: The default profile of each behaviour.
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
            hint = did_you_mean(key, known, f"there are {', '.join(known)}")
            raise _wrong(config, key, "there is no such key", hint)
    guest = _text(config, "embedded_guest", Behaviour.PROMPT.value)
    guests = [behaviour.value for behaviour in Behaviour]
    if guest not in guests:
        message = f"there is no guest {guest!r}: there are {', '.join(guests)}"
        raise _wrong(config, "embedded_guest", message, did_you_mean(guest, guests))
    behaviour = Behaviour(guest)
    if behaviour is Behaviour.NO_DRIVERS and kind is not Kind.HVM:
        hint = 'add type = "hvm", or choose another embedded_guest'
        raise _wrong(config, "embedded_guest", '"no-drivers" is for HVM domains', hint)
    typical = _TYPICAL.get(behaviour, GuestProfile())
    times: dict[str, float] = {}
    for name in _TIMES:
        key = PREFIX + name
        text = _text(config, key)
        if key not in config.values:
            times[name] = getattr(typical, name)
        elif text == "never" and key in _ENDLESS:
            times[name] = math.inf
        else:
            try:
                times[name] = parse_duration(text)
            except ValueError as error:
                raise _wrong(config, key, f"{text!r}: {error}") from None
            least = 0.01 if key == "embedded_every" else 0.0
            if not least <= times[name] <= SECONDS_MAX:
                message = f"expected {least:g} to {SECONDS_MAX:g} seconds, not {text!r}"
                raise _wrong(config, key, message)
    return GuestProfile(
        behaviour,
        advertises=_flag(config, "embedded_advertises", typical.advertises),
        agent=_flag(config, "embedded_agent", typical.agent),
        **times,
    )


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


def _wrong(config: XlConfig, key: str, message: str, hint: str = "") -> DefinitionError:
    where = config.where(key)
    return DefinitionError(
        f"{key}: {message}", where=where.file, line=where.line, column=where.column, hint=hint
    )


@dataclass(frozen=True, slots=True)
class EmbeddedDefinition:
    """One definition, reduced to what the embedded host uses. ``memory`` is in MiB."""

    path: str
    name: str
    uuid: UUID | None
    kind: Kind
    memory: int
    reactions: Mapping[ShutdownReason, Reaction]
    profile: GuestProfile


def read_embedded_definition(text: str, path: str) -> EmbeddedDefinition:
    """Read a definition's text; raise ``DefinitionError`` for the first error in it."""
    config = parse(text, path)
    reading = read_definition(config)
    if reading.errors:
        raise reading.errors[0]
    definition = reading.definition
    assert definition is not None, "a definition without errors has been read"
    value = config.values.get("memory", DEFAULT_MEMORY)
    memory = None if isinstance(value, list) else to_number(as_text(value))
    if memory is None or not 1 <= memory <= MEMORY_MAX:
        raise _wrong(config, "memory", f"expected a number of MiB from 1 to {MEMORY_MAX}")
    reactions = {}
    for reason, (key, default) in _ON.items():
        value = config.values.get(key, default.value)
        reaction = None if isinstance(value, list) else _REACTIONS.get(as_text(value))
        if reaction is None:
            raise _wrong(config, key, f"expected one of {', '.join(_REACTIONS)}")
        reactions[reason] = reaction
    return EmbeddedDefinition(
        path,
        definition.name,
        definition.uuid,
        definition.kind,
        memory,
        reactions,
        read_profile(config, definition.kind),
    )
