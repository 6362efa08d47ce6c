"""The agent's daemon, ``lamplighter-agent run``: takes events, has ``handshake`` decide, and acts.

    xenbus          watches on control/shutdown, and on the host's asked and answer
    control socket  init's hook: the system is shutting down
    signals         a child has ended; SIGTERM: exit at once, and leave guard and scripts alone

It sleeps in one poll(2), and nothing wakes it up while nothing happens. A lost connection to
XenStore is opened again, after pauses that grow to five seconds. Everything else goes on meanwhile:
a shutdown does not need the host.

A request is noted in a file before it is acknowledged, and stays there until the system's shutdown
has begun. So if the agent is killed in between, its successor continues with the request.
"""

from __future__ import annotations

import gc
import os
import select
import signal
from collections import deque
from math import inf
from typing import TYPE_CHECKING

from lamplighter import __version__
from lamplighter.errors import XenStoreError, XenStoreUnreachable
from lamplighter.formats.agent_protocol import (
    encode_progress,
    encode_ready,
    encode_version,
    parse_deadline_note,
)
from lamplighter.guest import events
from lamplighter.guest.clock import milliseconds, now
from lamplighter.guest.config import read_config
from lamplighter.guest.control_socket import ControlSocket, open_control_socket
from lamplighter.guest.guard import Guard, Order
from lamplighter.guest.handshake import State, step
from lamplighter.guest.kernel_shutdown import find_request
from lamplighter.guest.log import Log
from lamplighter.guest.nodes import AgentNodes, node
from lamplighter.guest.power import Power, Rehearsal
from lamplighter.guest.processes import Children, problem_of
from lamplighter.guest.readiness import BootWatch
from lamplighter.guest.run_state import ANSWER, Answers, RequestRecord, RunStateFile
from lamplighter.guest.scripts import Scripts
from lamplighter.guest.systemd import notify
from lamplighter.guest.xenbus import Bus, find, read_or_none

if TYPE_CHECKING:
    from lamplighter.guest.config import Config, Paths

#: The request's node, and the node of the host's note on its deadline.
SHUTDOWN = "control/shutdown"

ASKED = node("asked")

#: The shortest and the longest pause, in seconds, until XenStore is opened again.
FIRST_PAUSE, LAST_PAUSE = 0.1, 5.0

#: The signals that end the daemon.
LEAVE = (signal.SIGTERM, signal.SIGINT)


class Daemon:
    """The running agent."""

    def __init__(
        self, places: Paths, config: Config, power: Power, control_socket: ControlSocket, log: Log
    ) -> None:
        self._places = places
        self._power = power
        self._control = control_socket
        self._log = log
        run_state = RunStateFile(places.state, places.proc, log)
        self._request_record = RequestRecord(run_state)
        self._guard = Guard(places.orders, places.xenstore, power, log)
        request, acknowledged = self._request_record.find()
        self._state = State(
            config.settings,
            acknowledging=request,
            acknowledged=acknowledged,
            granted=self._guard.grant,
        )
        self._events: deque[events.Event] = deque()
        self._children = Children()
        self._scripts = Scripts(places, config.script_deadline, self._children, run_state, log)
        self._nodes = AgentNodes(encode_version(__version__), log)
        self._boot = BootWatch(
            places, config.check_deadline, self._children, log, self._report_ready
        )
        self._answers = Answers(run_state)
        self._bus: Bus | None = None
        self._reopen = -inf
        self._pause = FIRST_PAUSE
        self._shutdown_pid = 0  # the process that begins the system's shutdown
        self._first = True

    def run(self) -> int:
        """Run until a signal in ``LEAVE`` arrives; return the exit status."""
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        os.set_blocking(theirs, False)
        for number in (*LEAVE, signal.SIGCHLD):
            signal.signal(number, _ignore)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
        self._open()
        self._boot.begin(now())
        notify(os.environ, ready=True)
        self._settle()
        while True:
            poll = select.poll()
            for descriptor in (ours, *self._control.descriptors()):
                poll.register(descriptor, select.POLLIN)
            scripts = min(self._children.wake, self._scripts.wake)
            wake = min(self._state.wake, self._boot.wake, self._guard.wake, scripts)
            ready: set[int] = set()
            if self._bus is None:
                wake = min(wake, self._reopen)
            else:
                poll.register(self._bus.fileno(), select.POLLIN)
                if self._bus.kept:
                    wake = -inf
                    ready = {self._bus.fileno()}
            ready |= {found for found, _ in poll.poll(milliseconds(wake - now()))}
            if ours in ready and any(number in LEAVE for number in os.read(ours, 4096)):
                return 0
            self._attend(ready)
            self._settle()

    # --- events ---

    def _attend(self, ready: set[int]) -> None:
        """Collect the events behind these descriptors, and those that are due."""
        moment = now()
        for pid, code in self._children.reap():
            script = self._scripts.ended(pid, code)
            if script is not None:
                self._events.append(events.ScriptEnded(moment, *script))
            elif pid == self._shutdown_pid:
                self._shutdown_pid = 0
                if (problem := problem_of(code)) is not None:
                    self._events.append(events.NotBegun(moment, problem))
            elif not self._boot.ended(pid, code, moment):
                self._guard.ended(pid, code)
        self._events.extend(events.ScriptEnded(moment, *script) for script in self._scripts.gone())
        self._children.kill_overdue(moment)
        self._boot.tick(moment)
        self._guard.tick(moment)
        for descriptor in set(self._control.descriptors()) & ready:
            if (request := self._control.receive(descriptor)) is not None:
                self._events.append(events.SystemStopping(moment, request))
        try:
            if self._bus is not None and self._bus.fileno() in ready:
                fired = self._bus.fired()
                self._pause = FIRST_PAUSE if fired else self._pause
                if fired and self._nodes.renew(self._bus):
                    self._log.note("all nodes were written again: they had gone")
                if fired & {SHUTDOWN, ASKED}:
                    self._events.append(_read_request(self._bus))
                if ANSWER in fired and (answer := self._answers.new_answer(self._bus)) is not None:
                    self._events.append(events.Answered(now(), answer))
        except XenStoreUnreachable as error:
            self._lose(error)
        if self._bus is None and moment >= self._reopen:
            self._open()
        if moment >= self._state.wake:
            self._events.append(events.Tick(moment))

    # --- XenStore ---

    def _open(self) -> None:
        """Connect and write all nodes; then the new watches fire and report what is there."""
        try:
            self._bus = Bus(self._places.xenstore)
            if self._first:
                going = bool(self._state.going) or self._guard.runs
                self._answers.begin(self._bus, going=going)
                if not going:
                    self._nodes.remove_shutdown_nodes(self._bus)
            self._nodes.write_all(self._bus)
            for path in (SHUTDOWN, ASKED, ANSWER):
                self._watch(self._bus, path)
            self._first = False
        except XenStoreUnreachable as error:
            self._lose(error)

    def _watch(self, bus: Bus, path: str) -> None:
        try:
            bus.watch(path)
        except XenStoreError as error:
            self._log.warn(f"{path} cannot be watched: {error}")

    def _lose(self, error: XenStoreUnreachable) -> None:
        if self._pause == FIRST_PAUSE:
            self._log.warn(str(error))
        if self._bus is not None:
            self._bus.close()
            self._bus = None
        self._reopen = now() + self._pause
        self._pause = min(LAST_PAUSE, self._pause * 2)

    def _report(self, name: str, value: bytes) -> None:
        try:
            self._nodes.report(self._bus, name, value)
        except XenStoreUnreachable as error:
            self._lose(error)

    def _report_ready(self, ready: bool, waits_for: str) -> None:
        self._report("ready", encode_ready(ready=ready, waits_for=waits_for))
        notify(os.environ, status="ready" if ready else f"not ready: {waits_for}")

    # --- actions ---

    def _settle(self) -> None:
        """Process events and carry out the resulting actions until none are left."""
        while self._events:
            went = self._state.going
            self._state, actions = step(self._state, self._events.popleft())
            self._request_record.note(self._state)
            for action in actions:
                self._do(action)
            self._request_record.forget(self._state)
            if self._state.going and not went:
                self._boot.give_up(now())
                notify(os.environ, status=f"{self._state.going} is under way")
        self._answers.settled()

    def _do(self, action: events.Action) -> None:
        """Carry out one action; its result becomes an event."""
        if isinstance(action, events.Record):
            self._log.note(action.text)
        elif isinstance(action, events.Arm):
            self._guard.arm(Order(action.request, action.at, action.basis))
        elif isinstance(action, events.ReportProgress):
            self._report("progress", encode_progress(action.text, action.percent))
        elif isinstance(action, events.CheckKernel):
            self._events.append(events.KernelChecked(now(), find_request(self._places.proc)))
        elif isinstance(action, events.Acknowledge):
            # Without a connection nothing was cleared; if it is lost in the middle, nobody knows.
            value = action.request.encode("ascii")
            ours: bool | None = None
            problem: str | None = None
            try:
                ours = self._bus is not None and self._bus.clear_if(SHUTDOWN, value)
            except XenStoreUnreachable as error:
                self._lose(error)
            except XenStoreError as error:
                problem = str(error)
            self._events.append(events.Acknowledged(now(), ours, problem))
        elif isinstance(action, events.FindScripts):
            # A hook that cannot connect runs the scripts itself, and there may be no notes of what
            # was begun: they must not run here as well.
            found = self._scripts.find() if self._control.listens else ()
            self._events.append(events.ScriptsFound(now(), found))
        elif isinstance(action, events.Run):
            problem = self._scripts.start(action.script.name, action.request)
            if problem is not None:
                self._events.append(events.ScriptEnded(now(), action.script.name, problem))
        elif isinstance(action, events.Kill):
            self._scripts.end(action.script.name, now())
        elif isinstance(action, events.Release):
            self._control.release()
        else:
            try:
                self._shutdown_pid = self._power.shut_down(action.request, self._children)
            except OSError as error:
                self._events.append(
                    events.NotBegun(now(), error.strerror or "it cannot be started")
                )


def _read_request(bus: Bus) -> events.RequestSeen:
    """Read the host's request and note.

    The host writes both together and takes both back together. So a note that is there before and
    after the request is found empty proves that the kernel took the request.
    """
    asked = read_or_none(bus, ASKED)
    value = read_or_none(bus, SHUTDOWN) or b""
    if asked and not value:
        asked = read_or_none(bus, ASKED)
    return events.RequestSeen(now(), value, parse_deadline_note(asked))


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing: the wakeup descriptor reports the signal."""


def run_daemon(places: Paths) -> int:
    """Run the agent; return its exit status."""
    log = Log(marked="JOURNAL_STREAM" in os.environ)
    config, problems = read_config(places.configuration)
    for problem in problems:
        log.warn(problem)
    places = places._replace(xenstore=places.xenstore or find())
    power = Rehearsal(places.rehearsal_file) if places.rehearsal_file else Power()
    power.load()
    control_socket = open_control_socket(places.control_socket, __version__, log)
    # What was imported stays: the garbage collector need not spend time and memory on it.
    gc.collect()
    gc.freeze()
    return Daemon(places, config, power, control_socket, log).run()
