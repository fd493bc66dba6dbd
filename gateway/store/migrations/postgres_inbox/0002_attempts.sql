-- How many times a message was worked on after a process died that may have been working on it.
CREATE TABLE attempt(seq int8 PRIMARY KEY, tries int4 NOT NULL);
