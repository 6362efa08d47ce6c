"""Builds the ``Inventory`` from files: the domains, their policy, and what is wrong with the files.

A definition that cannot be used affects no other domain: it becomes a ``Problem`` that blocks the
domain it names, as far as its name can be read at all. A file that others can write is believed
only where no trustworthy file says anything: such a file cannot block, rename or start the domain
of another file.

Where two definitions claim one name, neither is in the inventory: the policy is not known. Where
two of different names claim one UUID, both are blocked and known by their names alone, so that
whichever runs is still stopped as its own definition says.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from lamplighter.engine.policy import settle
from lamplighter.errors import DefinitionError
from lamplighter.formats import xlcfg
from lamplighter.formats.definition import Reading, read_definition
from lamplighter.formats.suggest import did_you_mean
from lamplighter.host.files.reading import read_definitions
from lamplighter.model.policy import Inventory, ManagedDomain
from lamplighter.model.problem import Location, Problem
from lamplighter.toolstacks.choose import is_embedded

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from lamplighter.host.files.reading import Text
    from lamplighter.model.policy import Configuration, Setting

ONE_EACH = "each domain needs a definition, a name and a UUID of its own"


class _Claim(NamedTuple):
    """One file's claim to be the definition of a domain."""

    text: Text
    reading: Reading
    where: Location

    @property
    def name(self) -> str:
        return self.reading.name or ""


def definition_owner(configuration: Configuration) -> int:
    """Return the user, besides root, who may own definitions: the one who runs an embedded host."""
    return os.geteuid() if is_embedded(configuration) else 0


def load_inventory(configuration: Configuration, *, owner: int) -> Inventory:
    """Read all definitions; ``owner`` is the user, besides root, who may own them.

    Never raises for what a file is or holds: that is among the inventory's problems.
    """
    texts, unread = read_definitions(configuration.host.definitions, owner)
    problems = [*configuration.problems, *unread]
    claims: list[_Claim] = []
    for text in texts:
        try:
            config = xlcfg.parse(text.text, text.path)
            reading = read_definition(config)
        except DefinitionError as broken:
            # At least the name of a broken definition is read: that domain is blocked.
            config = xlcfg.parse_valid_parts(text.text, text.path)
            reading = Reading(read_definition(config).name, errors=(broken,))
        claims.append(_Claim(text, reading, config.where("name")))
    trusted = [claim for claim in claims if not claim.text.distrust]
    trusted_names = {claim.name for claim in trusted}
    for text, reading, _ in claims:
        if text.distrust:
            at_fault = text.distrust
            message = f"refused: {at_fault.reason if at_fault.path == text.path else at_fault}"
            blocks = reading.name if reading.name not in trusted_names else None
            place = Location(text.path)
            problems.append(Problem("permissions", message, place, blocks or None, at_fault.hint))
            continue
        for error in reading.errors:
            place = Location(error.file or text.path, error.line, error.column)
            problem = Problem(error.code, error.problem, place, reading.name, error.hint)
            problems.append(problem)
    usable, duplicates = _without_duplicates(trusted)
    domains: dict[str, ManagedDomain] = {}
    for claim in sorted(usable, key=lambda claim: claim.name):
        if claim.reading.definition is not None:
            stated = claim.reading.settings
            policy = settle(configuration, claim.name, stated)
            domains[claim.name] = ManagedDomain(claim.reading.definition, policy, stated)
    problems += duplicates
    problems += _policy_problems(configuration, {claim.name for claim in claims}, domains)
    named = {name: settle(configuration, name) for name in configuration.domains}
    return Inventory(domains, settle(configuration), tuple(problems), named)


def _without_duplicates(claims: Iterable[_Claim]) -> tuple[list[_Claim], list[Problem]]:
    """Leave out claims that share a name; take the UUID from those that share only that."""
    by_name: defaultdict[str, list[_Claim]] = defaultdict(list)
    by_uuid: defaultdict[UUID, list[_Claim]] = defaultdict(list)
    for claim in claims:
        if claim.name:
            by_name[claim.name].append(claim)
    unique: list[_Claim] = []
    problems: list[Problem] = []
    for name, same in by_name.items():
        if len(same) == 1:
            unique += same
        problems += _shared(same, "duplicate-name", f"the name {name}")
    for claim in unique:
        if claim.reading.definition is not None and claim.reading.definition.uuid is not None:
            by_uuid[claim.reading.definition.uuid].append(claim)
    usable: list[_Claim] = []
    for claim in unique:
        definition = claim.reading.definition
        if definition is not None and definition.uuid is not None:
            shared = len(by_uuid[definition.uuid]) > 1
            definition = definition._replace(uuid=None) if shared else definition
        usable.append(claim._replace(reading=claim.reading._replace(definition=definition)))
    for uuid, same in by_uuid.items():
        problems += _shared(same, "duplicate-uuid", f"the UUID {uuid}")
    return usable, problems


def _shared(claims: list[_Claim], code: str, what: str) -> list[Problem]:
    """Return one problem for each of several claims that share what only one may have."""
    problems: list[Problem] = []
    for claim in claims:
        others = [str(other.where) for other in claims if other is not claim]
        if others:
            message = f"{what} is also used by {', '.join(others)}"
            problems.append(Problem(code, message, claim.where, claim.name, ONE_EACH))
    return problems


def _policy_problems(
    configuration: Configuration, names: set[str], domains: dict[str, ManagedDomain]
) -> list[Problem]:
    """Return the tables of no definition, and once for each place a refused ``suspend``."""
    problems: list[Problem] = []
    for name, table in configuration.domains.items():
        if name not in names:
            first = next(iter(table.values()), None)
            where = first.origin if first else Location(configuration.file, key=f"domain.{name}")
            message = f"[domain.{name}] is the table of a domain that has no definition"
            hint = did_you_mean(name, names, "correct the name, or add its file to definitions")
            problems.append(Problem("no-definition", message, where, name, hint, fatal=False))
    default = configuration.defaults.get("stop")
    stops: list[tuple[str | None, Setting[Any]]] = [(None, default)] if default is not None else []
    for name, managed in domains.items():
        if managed.policy.stop != default:
            stops.append((name, managed.policy.stop))
    hint = 'say "shutdown", "leave" or "destroy"'
    for domain, stop in stops:
        if stop.note:
            problems.append(
                Problem("suspend-refused", stop.note, stop.origin, domain, hint, fatal=False)
            )
    return problems
