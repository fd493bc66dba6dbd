-- The store: version rows, postings, directory, source records, effects. Decisions: design-store §1-§10.

CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- Words used in rows as small numbers: resource types and member keys.
CREATE TABLE name(no INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);

-- zstd dictionaries by the id their frames carry; none in use is ever deleted.
CREATE TABLE dictionary(id INTEGER PRIMARY KEY, hash TEXT NOT NULL, bytes BLOB NOT NULL);

-- One row a commit. people: the last person number given out.
CREATE TABLE tx(tx INTEGER PRIMARY KEY, at INTEGER NOT NULL, people INTEGER NOT NULL);

-- One row a version. rid = person << 24 | seq; till_tx = 1 << 62 while current.
-- flags: 1 superseded or provisional Patient, 2 deleted. same: hash of the canonical content.
-- prev: rid of the version before, 0 for the first. at: instant of from_tx, epoch ms.
-- words: six bytes of each posting, to test a row in hand. keys, body: see packing.py, bodies.py.
CREATE TABLE row(
  rid INTEGER PRIMARY KEY,
  from_tx INTEGER NOT NULL, till_tx INTEGER NOT NULL,
  typ INTEGER NOT NULL, flags INTEGER NOT NULL, member INTEGER NOT NULL, acl INTEGER NOT NULL,
  ver INTEGER NOT NULL, at INTEGER NOT NULL, fh INTEGER NOT NULL, src INTEGER NOT NULL,
  same INTEGER NOT NULL, prev INTEGER NOT NULL,
  id TEXT NOT NULL, words BLOB NOT NULL, keys BLOB NOT NULL, body BLOB NOT NULL
);
-- Newest first, incremental pulls, the change feed: always appended at the right edge of its type.
CREATE INDEX row_tx ON row(typ, from_tx);
-- The newest of some Patients: rows of one another lie far apart, these entries do not. Patient is name 2.
CREATE INDEX row_patient ON row(rid, from_tx, till_tx, flags, acl, member, id) WHERE typ = 2;

-- Id -> current row. ver 0: a Patient mentioned before it exists (rid then holds only its person).
CREATE TABLE dir(fh INTEGER PRIMARY KEY, rid INTEGER NOT NULL, ver INTEGER NOT NULL);

-- Identifier -> resources that carry or once carried it; every answer is verified on the resource.
CREATE TABLE ident(h INTEGER NOT NULL, fh INTEGER NOT NULL, PRIMARY KEY(h, fh)) WITHOUT ROWID;

-- Postings: one opaque word per 64-bit hash, rowid = rid.
CREATE VIRTUAL TABLE post USING fts5(
  words, content='', contentless_delete=1, detail=none, tokenize='ascii'
);
INSERT INTO post(post, rank) VALUES('usermerge', 2);

-- What population searches need in order. long: 1 when the range is wider than 32 days, so that a search for
-- overlap need not look further back than that among the others.
CREATE TABLE date_order(
  typ INTEGER NOT NULL, param INTEGER NOT NULL, long INTEGER NOT NULL, lo INTEGER NOT NULL, rid INTEGER NOT NULL,
  hi INTEGER NOT NULL, PRIMARY KEY(typ, param, long, lo, rid)
) WITHOUT ROWID;
CREATE TABLE text_order(
  typ INTEGER NOT NULL, param INTEGER NOT NULL, text TEXT NOT NULL, rid INTEGER NOT NULL,
  PRIMARY KEY(typ, param, text, rid)
) WITHOUT ROWID;

-- Rows that refer to a Patient but lie outside that Patient's home. fh: of the Patient.
CREATE TABLE away(fh INTEGER NOT NULL, rid INTEGER NOT NULL, PRIMARY KEY(fh, rid)) WITHOUT ROWID;

-- The words of codes, for `:text`. word: a posting every row carries that has the words. None is ever deleted.
CREATE TABLE wording(
  typ INTEGER NOT NULL, param INTEGER NOT NULL, text TEXT NOT NULL, word INTEGER NOT NULL,
  PRIMARY KEY(typ, param, text, word)
) WITHOUT ROWID;

-- Rows closed at an instant, waiting until no page can look at them any more; then their postings go.
CREATE TABLE closed(at INTEGER NOT NULL, rid INTEGER NOT NULL, PRIMARY KEY(at, rid)) WITHOUT ROWID;

-- Source records (D8): one patient as one member knows them.
CREATE TABLE record(
  src INTEGER PRIMARY KEY, member TEXT NOT NULL, local_number TEXT NOT NULL,
  patient TEXT NOT NULL, content BLOB NOT NULL, said_at TEXT NOT NULL, state TEXT NOT NULL
);
CREATE INDEX record_patient ON record(patient);

-- Superseded Patients and who reads in their place.
CREATE TABLE survivor(fh INTEGER PRIMARY KEY, id TEXT NOT NULL);

-- Messages settled, written with their effect.
CREATE TABLE done(raw_key TEXT PRIMARY KEY, tx INTEGER NOT NULL, outcome BLOB NOT NULL) WITHOUT ROWID;

-- How many versions there are, and how many of them are current, by all that decides whether a caller sees one: what
-- a search weighs its ways with, and what counts are made of.
CREATE TABLE size(
  typ INTEGER NOT NULL, member INTEGER NOT NULL, acl INTEGER NOT NULL, flags INTEGER NOT NULL,
  n INTEGER NOT NULL, live INTEGER NOT NULL, PRIMARY KEY(typ, member, acl, flags)
) WITHOUT ROWID;

-- Newest instant by member.
CREATE TABLE fresh(member INTEGER PRIMARY KEY, at INTEGER NOT NULL);

-- Audit rows of effects, in the transaction of the effect.
CREATE TABLE effect(seq INTEGER PRIMARY KEY, tx INTEGER NOT NULL, row BLOB NOT NULL);
