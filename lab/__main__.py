"""The command: ``python -m lab``. Its last line is ``N passed, N failed``.

Without an argument it runs the choice of this commit (``lab.choice``) and prints it first.

With ``--minutes`` no scenario is begun that would not end by then. Those that were not begun are
named, and counted in the last line: where there is a limit, as in CI, most of the scenarios show
more than a lab that was killed. Those that run always have to be among them.
"""

from __future__ import annotations

import argparse
import fnmatch
import signal
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from math import inf
from typing import TYPE_CHECKING, NoReturn

from lab.bench import Bench, Verdict
from lab.booted import build_booted
from lab.cache import Cache
from lab.choice import choose
from lab.clock import Deadline
from lab.emulator import build_emulator
from lab.failure import LabError
from lab.image import build_image
from lab.landing import TURN, advance, read_landing
from lab.needs import install_needs
from lab.parts import Parts
from lab.product import build_product
from lab.scenario import Scenario, all_scenarios
from lab.variants import VARIANTS, Variant

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from types import FrameType

    from lab.image import Image
    from lab.variants import Suite

    #: What runs on a host before the next host has its turn; a host may have several.
    Round = tuple[Variant, list[Scenario]]

INTERRUPTED = 130
#: So many lines of a failure's reason are printed once more at the end.
SHOWN = 8


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; return the exit status."""
    options = _options(argv)
    if options.command == "turn":
        print(f"turn {advance()}; commit {TURN} with what you land")
        return 0
    hosts = options.variant or "*"
    variants = [variant for name, variant in VARIANTS.items() if _fits(name, hosts)]
    scenarios = all_scenarios(options.scenario or "*")
    if options.command == "list":
        _list(scenarios)
        return 0
    if options.command == "choice":
        _choice(scenarios)
        return 0
    if not variants:
        print(f"there is no such variant; there are {', '.join(VARIANTS)}", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        install_needs()
        if options.command == "shell":
            return _shell(variants[0], product=options.product)
        if options.all or options.variant or options.scenario:
            wanted = _wanted(variants, scenarios, usual=not options.variant)
        else:
            wanted = _choice(scenarios)
        return _run(wanted, Deadline(options.minutes * 60), options.took, keep=options.keep)
    except LabError as error:
        print(f"the lab: {error}", file=sys.stderr)
        print("0 passed, 1 failed")
        return 1
    except KeyboardInterrupt:
        print("the lab: interrupted", file=sys.stderr)
        return INTERRUPTED


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """End as Ctrl-C would: the hosts inside QEMU end with the lab."""
    raise KeyboardInterrupt


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m lab", description="Scenarios on a real Xen host inside QEMU."
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=("run", "list", "choice", "turn", "shell"),
        default="run",
        help="run scenarios (the default), list them all, print the choice of this commit, advance "
        f"{TURN}, or boot a host and leave it running",
    )
    parser.add_argument(
        "--variant",
        metavar="PATTERN",
        help="only these hosts, with every scenario; '*' is every scenario on every host",
    )
    parser.add_argument("--scenario", metavar="PATTERN", help="only these scenarios")
    parser.add_argument(
        "--all",
        action="store_true",
        help="every scenario on the hosts where it usually runs, not the choice of this commit",
    )
    parser.add_argument(
        "--minutes",
        metavar="N",
        type=float,
        default=inf,
        help="begin no scenario that would not end within N minutes, and say which those are",
    )
    parser.add_argument(
        "--took",
        metavar="PART=SECONDS",
        type=_part,
        action="append",
        default=[],
        help="what came before the lab, for the table at the end",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the last host running when it is done"
    )
    parser.add_argument(
        "--without-product",
        dest="product",
        action="store_false",
        help="with shell: a host without Lamplighter",
    )
    return parser.parse_args(argv)


def _part(text: str) -> tuple[str, float]:
    part, _, seconds = text.rpartition("=")
    return part, float(seconds)


def _fits(name: str, pattern: str) -> bool:
    return fnmatch.fnmatch(name, pattern)


def _list(scenarios: Sequence[Scenario]) -> None:
    print(f"variants: {', '.join(VARIANTS)}")
    for scenario in scenarios:
        print(f"{scenario.name:<24} {scenario.shows}")
        print(f"{'':<24} on {', '.join(sorted(scenario.usually or {'each'}))}")


def _wanted(
    variants: Sequence[Variant], scenarios: Sequence[Scenario], *, usual: bool
) -> list[Round]:
    """What is to run on which host; ``usual``: no host was named."""
    fits = Scenario.runs_usually if usual else Scenario.concerns
    rounds = [(variant, [one for one in scenarios if fits(one, variant)]) for variant in variants]
    return [(variant, some) for variant, some in rounds if some]


def _choice(scenarios: Sequence[Scenario]) -> list[Round]:
    """Print what this commit chooses, and why; return it, the rotation in rounds at the end."""
    landing = read_landing()
    choices = choose(scenarios, landing)
    print(landing.note)
    rounds: dict[tuple[bool, Variant], list[Scenario]] = {}
    for choice in choices:
        print(choice)
        if choice.chosen:
            rounds.setdefault((choice.rotates, choice.variant), []).append(choice.scenario)
    minutes = sum(choice.scenario.seconds for choice in choices if choice.chosen) / 60
    print(f"about {minutes:.0f} minutes of scenarios; `--all` runs every one", flush=True)
    return [(variant, some) for (_, variant), some in rounds.items()]


def _run(
    rounds: Sequence[Round], deadline: Deadline, took: Sequence[tuple[str, float]], *, keep: bool
) -> int:
    verdicts: list[Verdict] = []
    parts = Parts(took)
    with parts.measure("lab: images"):
        images = _images({variant.suite for variant, _ in rounds})
    hosts: dict[Variant, Bench | None] = {}  # None: it did not come up
    with ExitStack() as ends:
        for variant, some in rounds:
            if all(one.seconds > deadline.left for one in some):
                continue
            if variant not in hosts:
                hosts[variant] = None
                began = time.monotonic()
                try:
                    host = _host(variant, images[variant.suite], parts)
                    hosts[variant] = ends.enter_context(closing(host))
                except LabError as error:
                    seconds = time.monotonic() - began
                    verdicts.append(Verdict(variant.name, "host", seconds, str(error)))
                    print(f"{verdicts[-1]}\n{error}", flush=True)
            if bench := hosts[variant]:
                with parts.measure(f"lab: {variant.name}, scenarios"):
                    verdicts += bench.run(some, deadline)
                if keep and some is rounds[-1][1]:
                    _stay(bench)
                bench.rest()
    return summarise(rounds, verdicts, parts)


def summarise(rounds: Sequence[Round], verdicts: Sequence[Verdict], parts: Parts) -> int:
    """Print the summary at the end; return the exit status."""
    begun = {(verdict.variant, verdict.scenario) for verdict in verdicts}
    for variant, some in rounds:
        if names := [one.name for one in some if (variant.name, one.name) not in begun]:
            print(f"{variant.name}: not begun: {', '.join(names)}")
    print(parts)
    # Where only the end of a log is kept, it has to say why. The failures come last.
    for verdict in sorted(verdicts, key=lambda verdict: bool(verdict.reason)):
        if verdict.reason or verdict.before:
            print(verdict)
        for line in _why(verdict):
            print(f"  {line}")
    if again := [verdict for verdict in verdicts if verdict.before and not verdict.reason]:
        which = ", ".join(f"{verdict.scenario} on {verdict.variant}" for verdict in again)
        print(f"{len(again)} passed only at the second try: {which}")
    failed = [verdict for verdict in verdicts if verdict.reason]
    not_begun = [
        one for variant, some in rounds for one in some if (variant.name, one.name) not in begun
    ]
    left_out = f", {len(not_begun)} not begun" if not_begun else ""
    print(f"{len(verdicts) - len(failed)} passed, {len(failed)} failed{left_out}")
    whole = not any(one.always for one in not_begun)
    return 0 if verdicts and not failed and whole else 1


def _why(verdict: Verdict) -> list[str]:
    """Return the first lines of why a scenario failed, and of why its first try did."""
    lines = verdict.reason.splitlines()[:SHOWN]
    if verdict.before:
        lines += ["at the first try:", *verdict.before.splitlines()[:SHOWN]]
    return lines


def _images(suites: Collection[Suite]) -> dict[Suite, Future[Image]]:
    """Build the images of all suites side by side; return when every one is built or has failed.

    No host runs meanwhile: beside a build it would miss the time-outs of Xen's own tools.
    """
    store = Cache.usual()
    with ThreadPoolExecutor() as builders:
        # Each image needs it at its end, when it would be built alone.
        builders.submit(build_emulator, store)
        return {suite: builders.submit(build_image, suite, store) for suite in suites}


def _host(variant: Variant, image: Future[Image], parts: Parts) -> Bench:
    """Return a host that is ready for scenarios; ``LabError`` when it does not come up."""
    store = Cache.usual()
    built = image.result()
    with parts.measure(f"lab: {variant.name}, boot"):
        booted = build_booted(variant, built, store)
    bench = Bench(variant, built, booted)
    try:
        with parts.measure(f"lab: {variant.name}, install"):
            bench.prepare(build_product(variant.suite, store))
    except BaseException:
        bench.close()
        raise
    return bench


def _shell(variant: Variant, *, product: bool) -> int:
    store = Cache.usual()
    image = build_image(variant.suite, store)
    booted = build_booted(variant, image, store)
    with closing(Bench(variant, image, booted)) as bench:
        bench.prepare(build_product(variant.suite, store) if product else None)
        _stay(bench)
    return 0


def _stay(bench: Bench) -> None:
    print(f"{bench.variant.name} runs until you press Ctrl-C; to get in:")
    print(f"  {bench.link.by_hand}", flush=True)
    try:
        while bench.machine.alive:
            time.sleep(1)
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    sys.exit(main())
