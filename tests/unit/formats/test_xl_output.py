"""What xl prints and logs, from samples of the real one."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.errors import CallFailed
from lamplighter.formats import xl_output
from lamplighter.model.domain import ShutdownReason

SAMPLES = Path(__file__).parents[3] / "lab" / "samples" / "bookworm"
HEADING, DOM0 = (SAMPLES / "list-v.txt").read_text().splitlines()[:2]
A_UUID = "00000000-0000-4000-8000-000000000001"


def sample(name: str) -> str:
    return (SAMPLES / name).read_text()


def line(name: str = "web", domid: str = "7", state: str = "-b----", reason: str = "-") -> str:
    return f"{name:<40} {domid:>5}    96     1\t{state}       9.2 {A_UUID} {reason:>8} {'-':>16}"


def listing(*lines: str) -> str:
    return "\n".join([HEADING, DOM0, *lines]) + "\n"


def test_a_listing_has_every_domain_with_its_uuid() -> None:
    seen = xl_output.parse_listing(sample("list-v.txt"))
    assert [(s.domid, s.name, s.running) for s in seen] == [
        (0, "Domain-0", True),
        (1, "prompt", True),
        (2, "kept", True),
        (3, "hangs", True),
    ]
    assert seen[1].uuid == UUID(A_UUID)


def test_a_domain_that_shut_down_has_its_reason() -> None:
    assert xl_output.parse_listing(sample("list-v-shut-down-kept.txt"))[1].shutdown is (
        ShutdownReason.POWEROFF
    )
    assert xl_output.parse_listing(sample("list-v-crashed.txt"))[3].shutdown is ShutdownReason.CRASH


@pytest.mark.parametrize(
    ("state", "reason", "shutdown", "dying", "paused"),
    [
        ("r-----", "-", None, False, False),
        ("--p---", "-", None, False, True),
        ("------", "-", None, False, False),
        ("---ss-", "2", ShutdownReason.SUSPEND, False, False),
        ("--psr-", "1", ShutdownReason.REBOOT, False, True),
        ("---sw-", "4", ShutdownReason.WATCHDOG, False, False),
        ("---s?-", "7", ShutdownReason.UNKNOWN, False, False),
        ("---sS-", "5", ShutdownReason.SOFT_RESET, False, False),
        ("---sx-", "9", ShutdownReason.UNKNOWN, False, False),
        ("---s--", "-", ShutdownReason.UNKNOWN, False, False),
        ("---s--", "ffffffff", ShutdownReason.UNKNOWN, False, False),
        ("--ps-d", "0", ShutdownReason.POWEROFF, True, True),
        ("-----d", "-", None, True, False),
    ],
)
def test_states(
    state: str, reason: str, shutdown: ShutdownReason | None, dying: bool, paused: bool
) -> None:
    seen = xl_output.parse_listing(listing(line(state=state, reason=reason)))[1]
    assert (seen.shutdown, seen.dying, seen.paused) == (shutdown, dying, paused)


@pytest.mark.parametrize(
    ("seconds", "state", "never_ran"),
    [
        ("0.0", "--p---", True),
        ("0.1", "--p---", False),
        ("10.0", "--p---", False),
        ("0.0", "r-----", False),
        ("0.0", "--p--d", False),
    ],
)
def test_what_never_ran(seconds: str, state: str, never_ran: bool) -> None:
    row = line(state=state).replace("       9.2 ", f" {seconds:>9} ")
    assert xl_output.parse_listing(listing(row))[1].never_ran is never_ran


@pytest.mark.parametrize(
    ("command", "may"),
    [
        ("/usr/sbin/xl create -q /etc/xen/web.cfg", True),
        ("xl create web.cfg", True),
        ("xl -vvv -t create web.cfg", True),
        ("xl create /etc/xen/auto/web.cfg -p", True),
        ("xl create --defconfig=/root/web.cfg", True),
        ("systemd-run --scope -- /usr/sbin/xl create -q /etc/xen/web.cfg", True),
        ("xl create -q /etc/xen/db.cfg", False),
        ("xl restore /var/lib/xen/save/anything", True),
        ("xl migrate-receive", True),
        ("xl console web.cfg", False),
        ("vi /etc/xen/web.cfg", False),
    ],
)
def test_who_may_be_creating(command: str, may: bool) -> None:
    assert xl_output.may_create(command.split(), "/etc/xen/web.cfg") is may


@pytest.mark.parametrize(
    "name",
    ["a b", "1 2 3", "x" * 200, "grüße", "(x)", "a\u2028b", "", "two\nlines", "\nafter", "a\n\nb"],
)
def test_a_name_may_be_anything(name: str) -> None:
    seen = xl_output.parse_listing(listing(line(name), line("next", "8")))
    assert [(s.domid, s.name) for s in seen[1:]] == [(7, name), (8, "next")]


def test_a_name_of_blanks_is_none() -> None:
    seen = xl_output.parse_listing(listing(line(" " * 60), line("next", "8")))
    assert [(s.domid, s.name) for s in seen[1:]] == [(7, ""), (8, "next")]


def test_a_name_with_a_whole_row_in_it_hides_no_domain() -> None:
    seen = xl_output.parse_listing(listing(line(f"a\n{line('fake', '9')}\n"), line("web", "8")))
    assert {7, 8} < {s.domid for s in seen}


def test_a_guest_that_starts_another_kernel_is_one_row_among_others() -> None:
    resetting = line("kdump", "2", state="---sS-", reason="5")
    seen = xl_output.parse_listing(listing(line("web", "1"), resetting))
    assert [(s.name, s.shutdown) for s in seen[1:]] == [
        ("web", None),
        ("kdump", ShutdownReason.SOFT_RESET),
    ]


def test_a_name_that_looks_like_columns_hides_nothing() -> None:
    seen = xl_output.parse_listing(listing(line("web" + line("fake", "3", "---s--", "0"), "7")))[1]
    assert (seen.domid, seen.running) == (7, True)
    assert seen.name.startswith("webfake")


def test_a_name_with_spaces_around_it() -> None:
    assert xl_output.parse_listing(listing(line("  web")))[1].name == "  web"


def test_newer_xens_show_capabilities_too() -> None:
    text = f"{HEADING}      Capabilities\n{DOM0} privileged hardware\n{line()} -\n"
    assert [s.domid for s in xl_output.parse_listing(text)] == [0, 7]


def test_a_line_of_nothing_but_spaces_is_refused_quickly() -> None:
    with pytest.raises(CallFailed, match="cannot be read"):
        xl_output.parse_listing(listing(" " * 300_000 + "x"))


def test_a_domain_without_a_name_has_none() -> None:
    assert not xl_output.parse_listing(listing(line("(null)", state="---s-d", reason="0")))[1].name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage\n",
        HEADING,
        HEADING + "\n" + line() + "\n",
        listing(line(), line()),
        listing(line(domid="x")),
        listing(line(state="-b---")),
        listing(line()[:60]),
        listing(""),
        listing(line() + "\n\x1b[2Jxl: warning"),
    ],
    ids=lambda text: str(len(text)),
)
def test_what_is_not_wholly_understood_is_no_listing(text: str) -> None:
    with pytest.raises(CallFailed, match="xl's listing"):
        xl_output.parse_listing(text)


@given(st.one_of(st.text(), st.text().map(listing)))
def test_no_text_breaks_the_listing(text: str) -> None:
    said = None
    try:
        assert xl_output.parse_listing(text)[0].domid == 0
    except CallFailed as error:
        said = error.message
    assert said is None or said.isprintable()


LOG = """\
Waiting for domain web (domid 1) to die [pid 640]
Domain 1 has shut down, reason code 1 0x1
Action for shutdown reason code 1 is restart
Domain 1 needs to be cleaned up: destroying the domain
Done. Rebooting now
Waiting for domain web (domid 12) to die [pid 640]
Domain 12 has shut down, reason code 0 0x0
"""


@pytest.mark.parametrize(
    ("domid", "reason"),
    [(1, ShutdownReason.REBOOT), (12, ShutdownReason.POWEROFF), (2, None), (0, None)],
)
def test_the_epitaph_is_of_that_incarnation(domid: int, reason: ShutdownReason | None) -> None:
    assert xl_output.parse_shutdown_reason(LOG, domid) is reason


@pytest.mark.parametrize(
    "log",
    [
        LOG + "Waiting for domain web (domid 12) to die [pid 640]\n",
        LOG.replace("Domain 12 has", "libxl: Domain 12 has"),
        LOG.replace("reason code 0", "reason code"),
        "",
    ],
    ids=["it-waits-again", "not-at-the-start-of-a-line", "no-number", "empty"],
)
def test_what_is_not_its_end_is_no_epitaph(log: str) -> None:
    assert xl_output.parse_shutdown_reason(log, 12) is None


@given(st.binary())
def test_no_bytes_break_an_epitaph_or_a_complaint(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    assert xl_output.parse_shutdown_reason(text, 1) is None
    assert xl_output.reaper_pid(text, 1) is None
    assert xl_output.error_message(text).isprintable()


@pytest.mark.parametrize(
    ("log", "pid"),
    [
        (LOG, 640),
        (LOG + "Waiting for domain web (domid 12) to die [pid 641]\n", 641),
        (LOG.replace(" [pid 640]", ""), None),
        (LOG.replace("domid 12", "domid 13"), None),
        (LOG.replace("[pid 640]", "[pid 12345678901]"), None),
        ("", None),
    ],
    ids=["told", "told-again", "an-xl-that-tells-none", "another-domid", "no-number", "empty"],
)
def test_the_log_shows_who_reaps(log: str, pid: int | None) -> None:
    assert xl_output.reaper_pid(log, 12) == pid


def complaints() -> list[tuple[str, str]]:
    """Every command of the sample, and what xl said."""
    blocks = sample("errors.txt").split("$ ")[1:]
    parts = (block.partition("\n") for block in blocks)
    return [(command, said.partition("[exit")[0]) for command, _, said in parts]


@pytest.mark.parametrize(
    ("command", "error_message"),
    [
        ("xl create /nonexistent.cfg", "Failed to read config file: /nonexistent.cfg: No such"),
        ("xl create bad.cfg", "bad.cfg:0: config parsing error near <newline>"),
        ("xl create bad2.cfg", "Neither kernel nor bootloader specified"),
        ("xl create big.cfg", "can't allocate low memory for domain: Out of memory"),
        ("xl create /etc/xen/hangs.cfg", 'Domain with name "hangs" already exists'),
        ("xl create nok.cfg", "failed to open file '/g/none': No such file or directory"),
        ("xl trigger hangs power", "Send trigger 'power' failed: Invalid argument"),
    ],
)
def test_of_many_lines_the_cause_is_reported(command: str, error_message: str) -> None:
    assert xl_output.error_message(dict(complaints())[command]).startswith(error_message)


def test_silence_is_reported_too() -> None:
    assert (
        xl_output.error_message("")
        == xl_output.error_message("Parsing config from x\n")
        == "it did not say why"
    )


def test_a_missing_domain_is_known_by_what_xl_says() -> None:
    said = dict(complaints())
    assert xl_output.is_no_domain(said["xl destroy 999"])
    assert xl_output.is_no_domain(said["xl destroy nosuch"])
    assert not xl_output.is_no_domain(said["xl trigger hangs power"])


@pytest.mark.parametrize(
    ("said", "gone"),
    [
        # Its reaper was faster: seen with Xen 4.20.
        ("libxl: error: Domain 57:xc_domain_destroy failed for 57: No such process\n", True),
        ("libxl: error: Domain 57:Getting domain info: No such process\n", True),
        ("libxl: error: xc_domain_destroy failed for 57: Device or resource busy\n", False),
        ("libxl: error: libxl_dm.c:1: failed to kill Device Model: No such process\n", False),
    ],
)
def test_a_domain_that_goes_while_it_is_being_destroyed_is_missing(said: str, gone: bool) -> None:
    assert xl_output.is_no_domain(said) is gone


@pytest.mark.parametrize(
    ("command", "paths"),
    [
        ("/usr/sbin/xl create -q /etc/xen/web.cfg", ["/etc/xen/web.cfg"]),
        ("systemd-run --scope -- /usr/sbin/xl create -q /etc/xen/web.cfg", ["/etc/xen/web.cfg"]),
        ("sh -c exec<null sh /usr/sbin/xl create -q /etc/xen/web.cfg", ["/etc/xen/web.cfg"]),
        ("xl create web.cfg", []),
        ("xl -vvv create /etc/xen/web.cfg", ["/etc/xen/web.cfg"]),
        ("xl -v", []),
        ("xl list -v", []),
        ("xl", []),
        ("", []),
        ("vi create /etc/xen/web.cfg", []),
    ],
)
def test_what_a_command_line_creates(command: str, paths: list[str]) -> None:
    assert xl_output.created_from(command.split()) == paths
