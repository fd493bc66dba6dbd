-- Messages that wait for another (state 3): what they wait for, as hashes, and until when (epoch ms).
CREATE TABLE awaited(what int8 NOT NULL, seq int8 NOT NULL, due int8 NOT NULL, PRIMARY KEY (what, seq));
CREATE INDEX awaited_by ON awaited(seq);
CREATE INDEX awaited_due ON awaited(due);
CREATE INDEX message_parked ON message(reason, seq) WHERE state = 3;
