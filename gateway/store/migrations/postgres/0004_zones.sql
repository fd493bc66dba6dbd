-- What long stretches of versions of a type have in common, so that a walk passes over them (store/zones.py).
CREATE TABLE zone(typ int4 NOT NULL, last int8 NOT NULL, said bytea NOT NULL, PRIMARY KEY(typ, last));
