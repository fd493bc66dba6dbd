-- Criteria of conditional writes that name no identifier, and the last transaction under them (design-store §4).
CREATE TABLE criteria(h int8 PRIMARY KEY, tx int8 NOT NULL, at int8 NOT NULL);

-- Answers to requests under an Idempotency-Key, written with their effect (design-store §7).
-- said: what the answer is made from; written: what became of the plan, as JSON.
CREATE TABLE answer(
  h int8 PRIMARY KEY, tx int8 NOT NULL, at int8 NOT NULL, digest bytea NOT NULL, said bytea NOT NULL,
  written bytea NOT NULL
);
