"""The journal's database: its tables, and how they grow with versions.

``PRAGMA user_version`` counts the migrations a file has seen; ``MIGRATIONS[n]`` leads from version
n to n + 1, and a file with a higher version than this list is refused rather than guessed at.

Write-ahead logging, so that a reader never holds up a run, with ``synchronous = FULL``, so that a
commit is on the disk when it returns: one fsync for each.

A transition is written before the action it announces and holds the domid, which names the
incarnation the action was meant for. That is all a recovery needs: a run without ``ended``
whose lock nobody holds has died, and the newest transition of each domain in it says which action
may or may not have been done. A run with ``ended`` and without ``exit`` died, and a later one
finished its record.

``past_hold`` is history, too: who held a domain, and who let it go. What is held now is in
``intent.json``; the highest number of a change to it that any record went by is ``intents_seen``.
"""

from __future__ import annotations

#: The database inside the state directory.
FILE_NAME = "state.db"

#: Marks a database as ours ("LAMP"), so that somebody else's is never written to.
APPLICATION_ID = 0x4C414D50

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE run (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            direction TEXT NOT NULL,
            boot_id TEXT NOT NULL,
            started TEXT NOT NULL,
            ended TEXT,
            exit INTEGER
        )
        """,
        """
        CREATE TABLE transition (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run INTEGER NOT NULL REFERENCES run (id),
            name TEXT NOT NULL,
            uuid TEXT,
            domid INTEGER,
            before TEXT NOT NULL,
            after TEXT NOT NULL,
            detail TEXT NOT NULL,
            at TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE result (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run INTEGER NOT NULL REFERENCES run (id),
            name TEXT NOT NULL,
            uuid TEXT,
            domid INTEGER,
            outcome TEXT NOT NULL,
            seconds REAL NOT NULL,
            note TEXT NOT NULL,
            good INTEGER NOT NULL,
            at TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE intent (
            domain TEXT PRIMARY KEY,
            wanted TEXT NOT NULL CHECK (wanted IN ('up', 'down', 'held')),
            reason TEXT NOT NULL,
            said_by TEXT NOT NULL,
            at TEXT NOT NULL
        )
        """,
        "CREATE INDEX run_by_boot ON run (boot_id)",
        "CREATE INDEX transition_by_domain ON transition (run, name)",
        "CREATE INDEX result_by_domain ON result (run, name)",
    ),
    (
        "ALTER TABLE intent RENAME TO intent_1",
        """
        CREATE TABLE intent (
            domain TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            meant TEXT NOT NULL CHECK (meant IN ('up', 'down')),
            reason TEXT NOT NULL,
            said_by TEXT NOT NULL,
            at TEXT NOT NULL,
            boot_id TEXT NOT NULL,
            domid INTEGER
        )
        """,
        """
        CREATE TABLE hold (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            domain TEXT NOT NULL,
            name TEXT NOT NULL,
            reason TEXT NOT NULL,
            said_by TEXT NOT NULL,
            at TEXT NOT NULL,
            released TEXT,
            released_by TEXT
        )
        """,
        "CREATE UNIQUE INDEX hold_in_force ON hold (domain) WHERE released IS NULL",
        """
        INSERT INTO intent
        SELECT domain, domain, wanted, reason, said_by, at, '', NULL FROM intent_1
        WHERE wanted IN ('up', 'down')
        """,
        """
        INSERT INTO hold (domain, name, reason, said_by, at)
        SELECT domain, domain, reason, said_by, at FROM intent_1 WHERE wanted = 'held'
        """,
        "DROP TABLE intent_1",
    ),
    (
        "DROP TABLE intent",
        "CREATE TABLE intents_seen (number INTEGER NOT NULL)",
        "INSERT INTO intents_seen VALUES (0)",
        "CREATE INDEX run_unfinished ON run (id) WHERE ended IS NULL",
        "CREATE INDEX transition_by_name ON transition (name, id)",
        "CREATE INDEX result_by_name ON result (name, id)",
    ),
    # A process of version 2 that is still at work must fail to hold a domain here, where the hold
    # would be history alone.
    ("ALTER TABLE hold RENAME TO past_hold",),
)
