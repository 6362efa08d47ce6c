-- A journal as version 1 made it: its tables as they were released, and a few rows in each.
-- It is frozen: never changed to suit a later version. tests/unit/host/journal/test_migrations.py

PRAGMA application_id = 0x4C414D50;
PRAGMA user_version = 1;

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

CREATE TABLE intent (
    domain TEXT PRIMARY KEY,
    wanted TEXT NOT NULL CHECK (wanted IN ('up', 'down', 'held')),
    reason TEXT NOT NULL,
    said_by TEXT NOT NULL,
    at TEXT NOT NULL
);

CREATE INDEX run_by_boot ON run (boot_id);

CREATE INDEX transition_by_domain ON transition (run, name);

CREATE INDEX result_by_domain ON result (run, name);

INSERT INTO run VALUES (1, 'up', 'boot-1', '2026-03-01T08:00:00+01:00', '2026-03-01T08:00:09+01:00', 1);
INSERT INTO run VALUES (2, 'down', 'boot-1', '2026-03-01T18:00:00+01:00', NULL, NULL);

INSERT INTO transition VALUES
    (1, 1, 'web', '00000000-0000-4000-8000-000000000001', NULL, 'absent', 'creating', '', '2026-03-01T08:00:01+01:00'),
    (2, 1, 'web', '00000000-0000-4000-8000-000000000001', 3, 'creating', 'booting', 'domid 3', '2026-03-01T08:00:02+01:00'),
    (3, 2, 'web', '00000000-0000-4000-8000-000000000001', 3, 'up', 'asked', 'asked to power off', '2026-03-01T18:00:01+01:00');

INSERT INTO result VALUES
    (1, 1, 'web', '00000000-0000-4000-8000-000000000001', 3, 'started', 7.5, '', 1, '2026-03-01T08:00:09+01:00'),
    (2, 1, 'naïve', NULL, NULL, 'failed', 1.25, 'no memory', 0, '2026-03-01T08:00:03+01:00');

INSERT INTO intent VALUES
    ('00000000-0000-4000-8000-000000000001', 'up', 'asked', 'anna', '2026-03-01T08:00:00+01:00'),
    ('mail', 'down', 'moved', 'bert', '2026-03-02T08:00:00+01:00'),
    ('db', 'held', 'disk 3 is broken', 'carl', '2026-03-03T08:00:00+01:00');
