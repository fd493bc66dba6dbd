-- What long stretches of versions of a type have in common, so that a walk passes over them (store/zones.py).
CREATE TABLE zone(typ INTEGER NOT NULL, last INTEGER NOT NULL, said BLOB NOT NULL, PRIMARY KEY(typ, last)) WITHOUT ROWID;
