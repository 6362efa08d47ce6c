"""Init's hook, ``lamplighter-agent stopping``, which init runs before it stops the first service.

It tells the daemon which shutdown the system is executing, and waits until the administrator's
scripts have ended. If no daemon answers, it runs them itself. systemd also stops the hook's unit
when only that unit is to be stopped. So systemd is asked about the shutdown, whatever argument was
given; if there is none, nothing is done. Every wait is limited: neither a daemon nor a script may
keep a system from going down.
"""

from __future__ import annotations

import os
from math import inf
from select import poll
from typing import TYPE_CHECKING

from lamplighter.errors import UsageError
from lamplighter.guest.clock import milliseconds, now
from lamplighter.guest.config import Paths, read_config
from lamplighter.guest.control_socket import ANSWERS, GO_ON, HELLO, STOPPING, call
from lamplighter.guest.processes import LAST_CHANCE, Children, problem_of
from lamplighter.guest.run_state import RunStateFile
from lamplighter.guest.scripts import Scripts, find_programs, owners
from lamplighter.guest.systemd import find_end, systemd_runs

if TYPE_CHECKING:
    from lamplighter.guest.log import Log

LIST_JOBS = ("systemctl", "list-jobs", "--no-legend", "--no-pager", "--plain")

#: How often the daemon is called, and the seconds in between: systemd may just be restarting it.
CALLS = 3
PAUSE = 1.5

#: Seconds that systemctl may take.
TIMEOUT = 20.0

#: Seconds to wait for the daemon beyond what its scripts may take.
MORE = 30.0

#: Seconds to wait for a script after SIGKILL: a disk that hangs may hold it for ever.
UNKILLABLE = 10.0


def stopping(places: Paths, request: str | None, log: Log) -> int:
    """Return an exit status when the scripts have ended; no ``request``: systemd is asked."""
    systemd = systemd_runs()
    if request is None and not systemd:
        raise UsageError("systemd does not run here: name the shutdown: poweroff, reboot or halt")
    # An agent on trial, in a folder of its own, may be given any request.
    if systemd and (request is None or places.run == Paths().run):
        jobs = _output(LIST_JOBS, log)
        if jobs is None:
            return 1
        request = find_end(jobs)
    if request is None:
        log.note("the system stays, only the unit is stopped: nothing to do")
        return 0
    # Tell the daemon and wait: at most as long as all scripts may take together, kills included.
    config, _ = read_config(places.configuration)
    programs, _ = find_programs(places.scripts, config.script_deadline, owners())
    allowed = sum(program.deadline + LAST_CHANCE for program in programs) + MORE
    until = now() + allowed
    for turn in range(CALLS):
        if turn:
            poll().poll(milliseconds(PAUSE))
        if call(places.control_socket, HELLO, ANSWERS) is None:
            continue
        patience = max(ANSWERS, until - now())
        if call(places.control_socket, f"{STOPPING} {request}", patience) == GO_ON:
            return 0
        if now() >= until:
            log.warn(f"its scripts have not ended after {allowed:g} s: the system goes on")
            return 0
    log.warn("no lamplighter-agent answers: its scripts are run here, nothing forces the end")
    return run_scripts(places, request, log)


def run_scripts(places: Paths, request: str, log: Log) -> int:
    """Run the scripts in order, each with its deadline; return 1 if one of them failed."""
    config, _ = read_config(places.configuration)
    children = Children()
    state = RunStateFile(places.state, places.proc, log)
    scripts = Scripts(places, config.script_deadline, children, state, log)
    failed = False
    for script in scripts.find():
        problem = scripts.start(script.name, request)
        if problem is None:
            problem = _wait(children, scripts, script.name, script.deadline)
        log.note(f"{script.name}: {'done' if problem is None else problem}")
        failed = failed or problem is not None
    return int(failed)


def _wait(children: Children, scripts: Scripts, name: str, deadline: float) -> str | None:
    """Wait for a script; return its problem, None if it succeeded."""
    overdue, hopeless = now() + deadline, inf
    while True:
        for pid, code in children.reap():
            if (ended := scripts.ended(pid, code)) is not None and ended[0] == name:
                return ended[1]
        for gone, problem in scripts.gone():
            if gone == name:
                return problem
        if now() >= overdue:
            overdue, hopeless = inf, now() + LAST_CHANCE + UNKILLABLE
            scripts.end(name, now())
        if now() >= hopeless:
            return "it is still there after SIGKILL, and is not waited for"
        children.kill_overdue(now())
        # The hook has nothing else to do, and the system is going down: polling is cheap.
        poll().poll(100)


def _output(command: tuple[str, ...], log: Log) -> str | None:
    """Return what a program prints; None if it failed, with the reason in the log."""
    children = Children()
    ours, theirs = os.pipe()
    try:
        pid = children.start(command, os.environ, theirs)
    except OSError as error:
        log.warn(f"{command[0]} cannot be started: {error.strerror}")
        os.close(ours)
        return None
    finally:
        os.close(theirs)
    output = bytearray()
    until, watched = now() + TIMEOUT, poll()
    watched.register(ours)
    while watched.poll(milliseconds(until - now())) and (data := os.read(ours, 4096)):
        output += data
    os.close(ours)
    if now() >= until:
        children.end(pid, now() - LAST_CHANCE)
        children.kill_overdue(now())
    problem = problem_of(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    if problem is not None:
        log.warn(f"{' '.join(command)}: {problem}")
        return None
    return output.decode("utf-8", "replace")
