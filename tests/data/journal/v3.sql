-- A journal as version 3 made it: its tables as they were released, and a few rows in each.
-- It is frozen: never changed to suit a later version. tests/unit/host/journal/test_migrations.py

PRAGMA application_id = 0x4C414D50;
PRAGMA user_version = 3;

CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    direction TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    started TEXT NOT NULL,
    ended TEXT,
    exit INTEGER
);

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
);

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
);

CREATE INDEX run_by_boot ON run (boot_id);

CREATE INDEX transition_by_domain ON transition (run, name);

CREATE INDEX result_by_domain ON result (run, name);

CREATE TABLE hold (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    domain TEXT NOT NULL,
    name TEXT NOT NULL,
    reason TEXT NOT NULL,
    said_by TEXT NOT NULL,
    at TEXT NOT NULL,
    released TEXT,
    released_by TEXT
);

CREATE UNIQUE INDEX hold_in_force ON hold (domain) WHERE released IS NULL;

CREATE TABLE intents_seen (number INTEGER NOT NULL);

CREATE INDEX run_unfinished ON run (id) WHERE ended IS NULL;

CREATE INDEX transition_by_name ON transition (name, id);

CREATE INDEX result_by_name ON result (name, id);

INSERT INTO run VALUES (1, 'up', 'boot-1', '2026-03-01T08:00:00+01:00', '2026-03-01T08:00:09+01:00', 1);
INSERT INTO run VALUES (2, 'down', 'boot-1', '2026-03-01T18:00:00+01:00', NULL, NULL);

INSERT INTO transition VALUES
    (1, 1, 'web', '00000000-0000-4000-8000-000000000001', NULL, 'absent', 'creating', '', '2026-03-01T08:00:01+01:00'),
    (2, 1, 'web', '00000000-0000-4000-8000-000000000001', 3, 'creating', 'booting', 'domid 3', '2026-03-01T08:00:02+01:00'),
    (3, 2, 'web', '00000000-0000-4000-8000-000000000001', 3, 'up', 'asked', 'asked to power off', '2026-03-01T18:00:01+01:00');

INSERT INTO result VALUES
    (1, 1, 'web', '00000000-0000-4000-8000-000000000001', 3, 'started', 7.5, '', 1, '2026-03-01T08:00:09+01:00'),
    (2, 1, 'naïve', NULL, NULL, 'failed', 1.25, 'no memory', 0, '2026-03-01T08:00:03+01:00');

INSERT INTO hold VALUES
    (1, 'db', 'db', 'disk 3 is broken', 'carl', '2026-03-03T08:00:00+01:00', NULL, NULL),
    (2, 'mail', 'mail', 'too loud', 'carl', '2026-03-04T08:00:00+01:00', '2026-03-05T08:00:00+01:00', 'anna');

INSERT INTO intents_seen VALUES (4);
