-- Criteria of conditional writes that name no identifier, and the last transaction under them (design-store §4).
CREATE TABLE criteria(h INTEGER PRIMARY KEY, tx INTEGER NOT NULL, at INTEGER NOT NULL);

-- Answers to requests under an Idempotency-Key, written with their effect (design-store §7).
-- said: what the answer is made from; written: what became of the plan, as JSON.
CREATE TABLE answer(
  h INTEGER PRIMARY KEY, tx INTEGER NOT NULL, at INTEGER NOT NULL,
  digest BLOB NOT NULL, said BLOB NOT NULL, written BLOB NOT NULL
);
