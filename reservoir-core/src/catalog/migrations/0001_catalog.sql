-- Columns are BIGINT or TEXT only. {ID} is a row id that numbers itself, {NAME} is text that sorts by bytes.
-- Times are microseconds since the epoch, digests 64 hexadecimal digits, truth values 0 and 1.

CREATE TABLE counter (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counter (name, value) VALUES ('epoch', 0), ('dirty', 0), ('lease', 0);

CREATE TABLE registry (
    name {NAME} NOT NULL PRIMARY KEY,
    config TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE TABLE repository (
    id {ID},
    uuid TEXT NOT NULL UNIQUE,
    name {NAME} NOT NULL UNIQUE,
    config TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    next_number BIGINT NOT NULL DEFAULT 1,
    last_record_number BIGINT,
    last_record TEXT
);

CREATE TABLE artifact (
    id {ID},
    repository BIGINT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    name {NAME} NOT NULL,
    attributes TEXT NOT NULL DEFAULT '{}',
    cursor TEXT,
    quarantined TEXT,
    missing_since BIGINT,
    UNIQUE (repository, name)
);

CREATE TABLE revision (
    id {ID},
    repository BIGINT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    artifact BIGINT NOT NULL REFERENCES artifact (id) ON DELETE CASCADE,
    name {NAME} NOT NULL,
    status TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    UNIQUE (artifact, name)
);
CREATE INDEX revision_by_status ON revision (repository, status, id);

CREATE TABLE history (
    id {ID},
    revision BIGINT NOT NULL REFERENCES revision (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    from_status TEXT,
    to_status TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX history_by_revision ON history (revision, id);

-- `collision` is the SHA-256 of the path's collision key: paths can be longer than an index row may be.
CREATE TABLE file (
    id {ID},
    repository BIGINT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    revision BIGINT NOT NULL REFERENCES revision (id) ON DELETE CASCADE,
    path {NAME} NOT NULL,
    collision TEXT NOT NULL,
    registry TEXT NOT NULL,
    url TEXT NOT NULL,
    size BIGINT,
    sha256 TEXT,
    attributes TEXT NOT NULL,
    wanted BIGINT NOT NULL DEFAULT 0,
    gone_at BIGINT,
    stored_sha256 TEXT,
    stored_blake3 TEXT,
    stored_size BIGINT,
    inspection TEXT,
    admitted BIGINT NOT NULL DEFAULT 0,
    UNIQUE (repository, collision)
);
CREATE INDEX file_by_revision ON file (revision);
CREATE INDEX file_by_blob ON file (stored_sha256);

CREATE TABLE derived (
    id {ID},
    file BIGINT NOT NULL REFERENCES file (id) ON DELETE CASCADE,
    path {NAME} NOT NULL,
    sha256 TEXT NOT NULL,
    blake3 TEXT NOT NULL,
    size BIGINT NOT NULL
);
CREATE INDEX derived_by_file ON derived (file);
CREATE INDEX derived_by_blob ON derived (sha256);

CREATE TABLE alarm (
    id {ID},
    repository BIGINT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    artifact TEXT NOT NULL,
    path TEXT,
    rule TEXT NOT NULL,
    detail TEXT NOT NULL,
    at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    fingerprint TEXT NOT NULL,
    UNIQUE (repository, fingerprint)
);

CREATE TABLE dirty (
    revision BIGINT NOT NULL PRIMARY KEY,
    repository BIGINT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    seq BIGINT NOT NULL
);
CREATE INDEX dirty_by_repository ON dirty (repository, seq);

CREATE TABLE denial (
    repository BIGINT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    revision BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (repository, revision, sha256)
);

CREATE TABLE snapshot (
    repository BIGINT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    content TEXT NOT NULL,
    publication TEXT NOT NULL,
    parent BIGINT,
    author TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    message TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (repository, number)
);

CREATE TABLE reference (
    repository BIGINT NOT NULL REFERENCES repository (id) ON DELETE CASCADE,
    name {NAME} NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (repository, name),
    FOREIGN KEY (repository, number) REFERENCES snapshot (repository, number)
);

CREATE TABLE lease (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    token BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    touched BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE pin (
    owner TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    expires BIGINT NOT NULL,
    PRIMARY KEY (owner, sha256)
);
CREATE INDEX pin_by_blob ON pin (sha256, expires);

CREATE TABLE condemned (
    sha256 TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    since BIGINT NOT NULL
);
CREATE INDEX condemned_by_state ON condemned (state, since);

CREATE TABLE task (
    id {ID},
    kind TEXT NOT NULL,
    repository BIGINT,
    payload TEXT NOT NULL,
    state TEXT NOT NULL,
    holder TEXT,
    token BIGINT,
    progress TEXT NOT NULL,
    cancel_requested BIGINT NOT NULL DEFAULT 0,
    error TEXT,
    result TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX task_by_state ON task (state, id);

CREATE TABLE verdict (
    sha256 TEXT NOT NULL,
    scanner TEXT NOT NULL,
    rules TEXT NOT NULL,
    verdict TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (sha256, scanner, rules)
);

CREATE TABLE approval (
    id {ID},
    revision BIGINT NOT NULL REFERENCES revision (id) ON DELETE CASCADE,
    decision BIGINT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    digests TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX approval_by_revision ON approval (revision, id);

CREATE TABLE audit (
    seq BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
);

-- The end of the audit chain, so that a removed last record is noticed.
CREATE TABLE audit_head (
    id BIGINT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL,
    hash TEXT NOT NULL
);
INSERT INTO audit_head (id, seq, hash)
VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');
