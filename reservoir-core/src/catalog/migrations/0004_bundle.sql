-- Keys whose bundles and inventories are believed. `accept` says what else is asked of what they bring:
-- nothing ('evidence'), this side's own scanners ('scanners'), or a person ('person').
CREATE TABLE trusted_key (
    public TEXT NOT NULL PRIMARY KEY,
    comment TEXT NOT NULL,
    accept TEXT NOT NULL,
    predecessor TEXT,
    added_at BIGINT NOT NULL
);

-- Streams that leave: one for each destination.
CREATE TABLE stream_out (
    site {NAME} NOT NULL PRIMARY KEY,
    stream TEXT NOT NULL UNIQUE
);

-- What each has sent. `refs` are the refs of the whole stream after it; 'writing' until it is whole.
CREATE TABLE bundle_out (
    stream TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    header TEXT NOT NULL,
    kind TEXT NOT NULL,
    refs TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (stream, sequence)
);

-- Streams that arrive, each bound to the key that signed its first bundle.
CREATE TABLE stream_in (
    stream TEXT NOT NULL PRIMARY KEY,
    site TEXT NOT NULL,
    public TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    header TEXT NOT NULL,
    refs TEXT NOT NULL
);

-- What each has brought: the signed header, and the digest of its records, which are kept as evidence.
CREATE TABLE bundle_in (
    stream TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    header TEXT NOT NULL,
    document TEXT NOT NULL,
    signature TEXT NOT NULL,
    records TEXT NOT NULL,
    loaded_at BIGINT NOT NULL,
    PRIMARY KEY (stream, sequence)
);

-- Which repositories a stream fills.
CREATE TABLE stream_repository (
    repository BIGINT NOT NULL PRIMARY KEY REFERENCES repository (id) ON DELETE CASCADE,
    stream TEXT NOT NULL
);

CREATE INDEX revision_by_change ON revision (repository, changed_at);
