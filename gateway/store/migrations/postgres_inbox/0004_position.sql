-- How far each polled source was read (zstd), and how reading it goes (JSON).
CREATE TABLE position(source text PRIMARY KEY, body bytea NOT NULL DEFAULT '', reading text NOT NULL DEFAULT '');
