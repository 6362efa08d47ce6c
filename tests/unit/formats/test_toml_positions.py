"""Places in forms of TOML that a generated document does not take."""

from __future__ import annotations

import tomllib

import pytest

from lamplighter.formats.toml_positions import Path, Place, locate

DOTTED = """\
a.b . "c.d" = 1
  'e'.f = 2
[ g . "h i" ]
j = { k.l = [ { m = 1 }, 'n' ], "o" = 2 }
"""

ARRAYS = """\
[[a]]
x = 1
[[a]]
x = 2
[a.b]
y = 3
[[a.c]]
z = 4
[[a.c]]
z = 5
"""

STRINGS = '''\
a = """
b = 1
[c]""\\""""" # d
e = \'\'\'
f = 1
\'\'\'\'\'
g = "\\"h = 1" #"
i = '\\'
j = [ "]", # ]
  """]
""", 1979-05-27T07:32:00Z, -1_000.5e+3 ]
k = true
'''


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            DOTTED,
            {
                ("a",): (1, 1),
                ("a", "b"): (1, 3),
                ("a", "b", "c.d"): (1, 7),
                ("e",): (2, 3),
                ("e", "f"): (2, 7),
                ("g",): (3, 3),
                ("g", "h i"): (3, 7),
                ("g", "h i", "j"): (4, 1),
                ("g", "h i", "j", "k"): (4, 7),
                ("g", "h i", "j", "k", "l"): (4, 9),
                ("g", "h i", "j", "k", "l", 0): (4, 15),
                ("g", "h i", "j", "k", "l", 0, "m"): (4, 17),
                ("g", "h i", "j", "k", "l", 1): (4, 26),
                ("g", "h i", "j", "o"): (4, 33),
            },
        ),
        (
            ARRAYS,
            {
                ("a",): (1, 3),
                ("a", 0, "x"): (2, 1),
                ("a", 1, "x"): (4, 1),
                ("a", "b"): (5, 4),
                ("a", 1, "b", "y"): (6, 1),
                ("a", "c"): (7, 5),
                ("a", 1, "c", 0, "z"): (8, 1),
                ("a", 1, "c", 1, "z"): (10, 1),
            },
        ),
        (
            STRINGS,
            {
                ("a",): (1, 1),
                ("e",): (4, 1),
                ("g",): (7, 1),
                ("i",): (8, 1),
                ("j",): (9, 1),
                ("j", 0): (9, 7),
                ("j", 1): (10, 3),
                ("j", 2): (11, 6),
                ("j", 3): (11, 28),
                ("k",): (12, 1),
            },
        ),
        ("a=1\r\n\r\nb=2\r\n", {("a",): (1, 1), ("b",): (3, 1)}),
        ("a=1", {("a",): (1, 1)}),
        ("", {}),
        ("# nothing", {}),
    ],
)
def test_places(text: str, expected: dict[Path, Place]) -> None:
    tomllib.loads(text)
    assert locate(text) == expected
