"""lamplighter.toml: what is read, what each kind of mistake is told."""

from __future__ import annotations

import pytest

from lamplighter.errors import ConfigurationError
from lamplighter.formats import lamplighter_toml
from lamplighter.formats.policy_values import SUSPEND_REFUSED
from lamplighter.model.policy import Configuration, HostSettings, Setting, Start, Stop
from lamplighter.model.problem import BUILT_IN, Location

FILE = "/etc/lamplighter/lamplighter.toml"

WHOLE = """\
[host]
toolstack = "xl"
definitions = [
    "/etc/xen/*.cfg",
    "guests/*.cfg",
]
state = "/var/lib/lamplighter"
run = "run"
parallel_starts = 8
call_timeout = 30

[defaults]
start = "never"
stop = "leave"
stop_timeout = "3min"

[domain.web]
start = "always"
stop = "destroy"
start_timeout = 1.5
ack_timeout = "20s"

[domain."mail.example"]
stop = "suspend"
"""


def refusal(text: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        lamplighter_toml.parse(text, FILE)
    return caught.value


def test_an_empty_file_means_the_defaults() -> None:
    assert lamplighter_toml.parse("", FILE) == Configuration(FILE)


def test_everything_can_be_set() -> None:
    read = lamplighter_toml.parse(WHOLE, FILE)
    host = read.host
    assert host.toolstack.value == "xl"
    assert host.definitions.value == ("/etc/xen/*.cfg", "/etc/lamplighter/guests/*.cfg")
    assert (host.state.value, host.run.value) == ("/var/lib/lamplighter", "/etc/lamplighter/run")
    assert (host.parallel_starts.value, host.call_timeout.value) == (8, 30.0)
    assert {key: setting.value for key, setting in read.defaults.items()} == {
        "start": Start.NEVER,
        "stop": Stop.LEAVE,
        "stop_timeout": 180.0,
    }
    web = read.domains["web"]
    assert (web["start"].value, web["stop"].value) == (Start.ALWAYS, Stop.DESTROY)
    assert (web["start_timeout"].value, web["ack_timeout"].value) == (1.5, 20.0)


def test_more_time_and_a_budget_may_be_none() -> None:
    text = '[host]\nstop_budget = 0\n[defaults]\nextend_max = "0s"\n[domain.db]\nextend_max = 60\n'
    read = lamplighter_toml.parse(text, FILE)
    assert read.host.stop_budget.value == 0.0
    assert read.defaults["extend_max"].value == 0.0
    assert read.domains["db"]["extend_max"].value == 60.0
    assert (
        lamplighter_toml.parse('[host]\nstop_budget = "5min"', FILE).host.stop_budget.value == 300.0
    )


def test_each_setting_knows_its_place() -> None:
    read = lamplighter_toml.parse(WHOLE, FILE)
    assert str(read.host.definitions.origin) == f"{FILE}:3:1"
    assert str(read.defaults["stop_timeout"].origin) == f"{FILE}:15:1"
    assert str(read.domains["web"]["ack_timeout"].origin) == f"{FILE}:21:1"
    assert lamplighter_toml.parse("", FILE).host.state.origin == BUILT_IN


def test_suspend_becomes_a_shutdown_with_a_note() -> None:
    stop = lamplighter_toml.parse(WHOLE, FILE).domains["mail.example"]["stop"]
    assert stop.value is Stop.SHUTDOWN
    assert stop.note == SUSPEND_REFUSED
    assert str(stop.origin) == f"{FILE}:24:1"


def test_the_name_of_the_folder_is_no_pattern() -> None:
    read = lamplighter_toml.parse('[host]\ndefinitions = ["d/*.cfg"]\n', "/srv/[a]*/l.toml")
    assert read.host.definitions.value == ("/srv/[[]a][*]/d/*.cfg",)
    read = lamplighter_toml.parse('[host]\nstate = "s"\n', "/srv/[a]/l.toml")
    assert read.host == HostSettings(state=Setting("/srv/[a]/s", Location("/srv/[a]/l.toml", 2, 1)))


@pytest.mark.parametrize(
    ("text", "line", "column", "says", "hint"),
    [
        ("a = \n", 1, 5, "Invalid value", "must be TOML"),
        ("[host\n", 1, 6, "Expected ']'", "must be TOML"),
        ('[host]\nstate = "', 2, 10, "Unterminated string", "must be TOML"),
        ("[host]\n[host]\n", 2, 6, "Cannot declare", "must be TOML"),
        ("[host]\nstate = 'a'\nstate = 'b'\n", 3, 12, "Cannot overwrite", "must be TOML"),
        (f"a = {'9' * 5000}\n", None, None, "thousands of digits", "must be TOML"),
        (f"a = {'[' * 5000}", None, None, "nested too deeply", ""),
        ("[hosts]\n", 1, 2, 'no key "hosts"', "did you mean host?"),
        ("[domains.web]\n", 1, 2, 'no key "domains"', "did you mean domain?"),
        ("[xyzzy]\n", 1, 2, 'no key "xyzzy"', '"host", "defaults" or "domain"'),
        ('start = "always"\n', 1, 1, 'no key "start"', "belongs into [defaults] or [domain.NAME]"),
        ("[host]\ntoolstak = 1\n", 2, 1, 'no key "toolstak" in [host]', "did you mean toolstack?"),
        ('[host]\nstop = "leave"\n', 2, 1, 'no key "stop"', "belongs into [defaults]"),
        ("[defaults]\ncall_timeout = 1\n", 2, 1, 'no key "call_timeout"', "belongs into [host]"),
        ('[domain]\nstart = "always"\n', 2, 1, "a table [domain.start]", ""),
        ("domain = 1\n", 1, 1, "expected a table [domain], not 1", ""),
        ("[[host]]\n", 1, 3, "expected a table [host], not a list", ""),
        ("host = true\n", 1, 1, "expected a table [host], not true", ""),
        ('[host]\ntoolstack = "xm"\n', 2, 1, '"auto", "xl" or "embedded", not "xm"', ""),
        ('[host]\ntoolstack = "embeded"\n', 2, 1, 'not "embeded"', "did you mean embedded?"),
        ('[host]\ntoolstack = "libvirt"\n', 2, 1, "does not know libvirt yet", "expected"),
        ("[host]\ntoolstack = 1\n", 2, 1, "toolstack: expected", ""),
        ('[host]\ndefinitions = "/etc/xen/*.cfg"\n', 2, 1, "expected a list such as", ""),
        ('[host]\ndefinitions = ["a", 1]\n', 2, 1, "expected a path in quotes, not 1", ""),
        ('[host]\ndefinitions = [""]\n', 2, 1, 'expected a path, not ""', ""),
        ('[host]\nstate = "a\\u0000b"\n', 2, 1, 'expected a path, not "a\\x00b"', ""),
        ("[host]\nrun = ['a']\n", 2, 1, "expected a path in quotes, not a list", ""),
        ("[host]\nparallel_starts = 0\n", 2, 1, "from 1 to 1000, not 0", ""),
        ("[host]\nparallel_starts = 1001\n", 2, 1, "from 1 to 1000, not 1001", ""),
        ("[host]\nparallel_starts = 2.0\n", 2, 1, "expected a whole number, not 2.0", ""),
        ("[host]\nparallel_starts = true\n", 2, 1, "expected a whole number, not true", ""),
        ('[host]\nparallel_starts = "4"\n', 2, 1, 'expected a whole number, not "4"', ""),
        ("[host]\ncall_timeout = inf\n", 2, 1, "more than 0 seconds, not inf", ""),
        (
            '[defaults]\nstart = "alway"\n',
            2,
            1,
            'expected "always", "never" or "last-state"',
            "mean always?",
        ),
        ('[defaults]\nstart = "Always"\n', 2, 1, 'not "Always"', "did you mean always?"),
        ("[defaults]\nstart = true\n", 2, 1, "not true", ""),
        ('[defaults]\nstart = "last"\n', 2, 1, '"never" or "last-state"', ""),
        ("[defaults]\nhold_after = -1\n", 2, 1, "from 0 to 1000, not -1", ""),
        ('[defaults]\nhold_after = "3"\n', 2, 1, 'a whole number, not "3"', ""),
        ("[defaults]\nhold_window = 0\n", 2, 1, "more than 0 seconds", ""),
        ('[defaults]\nstop = "shut"\n', 2, 1, '"shutdown", "leave" or "destroy"', "shutdown?"),
        ("[defaults]\nstop = []\n", 2, 1, "not a list", ""),
        ("[defaults]\nstop_timeout = 0\n", 2, 1, "more than 0 seconds, not 0", ""),
        ('[defaults]\nstop_timeout = "0s"\n', 2, 1, 'more than 0 seconds, not "0s"', ""),
        ("[defaults]\nextend_max = -1\n", 2, 1, "0 seconds or more, not -1", ""),
        ("[host]\nstop_budget = true\n", 2, 1, "expected a duration", ""),
        ("[host]\nextend_max = 9\n", 2, 1, "no key", "extend_max belongs into [defaults]"),
        ("[defaults]\nstop_timeout = -180\n", 2, 1, "more than 0 seconds, not -180", ""),
        ('[defaults]\nstop_timeout = "-3min"\n', 2, 1, '"-3min": expected a duration', ""),
        ('[defaults]\nstop_timeout = "3 parsecs"\n', 2, 1, "no unit 'parsecs'", ""),
        ("[defaults]\nstop_timeout = nan\n", 2, 1, "not nan", ""),
        ("[defaults]\nstop_timeout = 86401\n", 2, 1, "of 1d at most, not 86401", ""),
        (f"[defaults]\nstop_timeout = 1{'0' * 400}\n", 2, 1, "1000", ""),
        ('[defaults]\nstop_timeout = "9999999h"\n', 2, 1, "of 1d at most", ""),
        ("[defaults]\nstop_timeout = false\n", 2, 1, "a duration such as", ""),
        ("[defaults]\nstop_timeout = 1979-05-27\n", 2, 1, "not a date or time", ""),
        ("[defaults]\nstop_timeout = {s = 3}\n", 2, 1, "not a table", ""),
    ],
)
def test_a_mistake_is_reported_with_its_place(
    text: str, line: int | None, column: int | None, says: str, hint: str
) -> None:
    error = refusal(text)
    assert (error.file, error.line, error.column) == (FILE, line, column)
    assert says in error.problem
    assert hint in error.hint
    assert len(error.message) < 250
    assert error.exit_status == 78


@pytest.mark.parametrize(
    ("table", "domain", "message", "hint"),
    [
        (
            "[domain.web]\nstops = 1\n",
            "web",
            'no key "stops" in [domain.web]',
            "did you mean stop?",
        ),
        ('[domain."a b"]\nstart = 1\n', "a b", "start: expected", ""),
    ],
)
def test_a_mistake_in_the_table_of_a_domain_is_a_problem_of_that_domain(
    table: str, domain: str, message: str, hint: str
) -> None:
    read = lamplighter_toml.parse(f'[domain.db]\nstop = "leave"\n{table}', FILE)
    (problem,) = read.problems
    assert (problem.code, problem.domain, problem.fatal) == ("configuration", domain, True)
    assert problem.where == Location(FILE, 4, 1)
    assert message in problem.message
    assert hint in problem.hint
    assert read.domains["db"]["stop"].value is Stop.LEAVE


def test_the_first_mistake_of_the_file_is_reported_and_how_many_follow() -> None:
    error = refusal("[defaults]\nstart = 1\nstop = 1\n[host]\nstate = 1\n")
    assert error.line == 2
    assert error.hint.endswith("and 2 more errors in the file")
    assert refusal("[host]\nstate = 1\nrun = 1\n").hint.endswith("and 1 more error in the file")


def test_what_is_sound_of_a_wrong_file_can_be_had() -> None:
    text = '[host]\nparallel_starts = 0\nstate = "/srv"\n[domain.web]\nstpo = 1\nstop = "leave"\n'
    sound, wrong = lamplighter_toml.parse_valid_parts(text, FILE)
    assert wrong is not None
    assert (wrong.line, "more error" in wrong.hint) == (2, False)
    assert [problem.domain for problem in sound.problems] == ["web"]
    assert (sound.host.state.value, sound.host.parallel_starts) == ("/srv", Setting(4))
    assert sound.domains["web"]["stop"].value is Stop.LEAVE


@pytest.mark.parametrize("text", ["[host", "a = " + "[" * 5000])
def test_of_what_is_no_toml_nothing_is_sound(text: str) -> None:
    sound, wrong = lamplighter_toml.parse_valid_parts(text, FILE)
    assert sound == Configuration(FILE)
    assert wrong is not None
