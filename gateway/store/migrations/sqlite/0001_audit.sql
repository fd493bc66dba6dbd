-- The audit log: disclosures, first kept in files beside this one, chained and indexed here with the store's effects.


-- The chain: n counts without a gap; log 0 = disclosure here, 1 = effect in the store; mac covers mac(n-1), log, seq, row.
-- words: those a row is found by, eight bytes each, to test it. row: the disclosure; an effect's is in the store.
CREATE TABLE seal(
  n INTEGER PRIMARY KEY, log INTEGER NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, mac BLOB NOT NULL,
  words BLOB NOT NULL, row BLOB
);
CREATE UNIQUE INDEX seal_row ON seal(log, seq);

-- The words of up to 64 links chained together, each word once: rowid = first n << 6 | how many follow it.
CREATE VIRTUAL TABLE seal_post USING fts5(words, content='', detail=none, columnsize=0, tokenize='ascii');
