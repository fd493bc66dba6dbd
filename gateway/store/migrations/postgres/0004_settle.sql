-- The commit as one statement and one transaction (design-store §4, §5). A group of plans is decided by the gateway
-- outside any lock. Here, under the lock by which transactions are numbered, what it rests on is looked at again when
-- others committed meanwhile, and all of it is written: how long the lock is held depends on the server alone.
--
-- turn: key of that lock. seen: the newest transaction when the group began to ask. rests, claims, criteria: hashes of
-- the resources, the identifiers, the criteria and Idempotency-Keys it rests on. stands: source records and how each
-- stood (stand.py), '' for none. homes, lasts: persons and the last seq of each. instants: of its plans, in their order. Transaction numbers within rows count from 1,
-- the group's first. ended: rows closed, and in `endings` by which transaction. born, placed: new directory entries,
-- changed ones. standing: Patients that read for themselves.
--
-- Gives the newest transaction before the group's. serialization_failure: something it rests on changed;
-- unique_violation: another group took the same place.
-- A row of `record`, whose name as a type means any row.
CREATE TYPE source_record AS (
  src int8, member text, local_number bytea, patient text, content bytea, said_at text, state text
);
CREATE TYPE record_stand AS (src int8, stand text);

CREATE FUNCTION settle(
  turn int8, seen int8, rests int8[], claims int8[], criteria int8[], stands record_stand[],
  homes int8[], lasts int8[], instants int8[], rows version[], ended closed[], endings int8[], born dir[], placed dir[],
  dates date_order[], texts text_order[], aways away[], wordings wording[], idents ident[], standing int8[], led survivor[], sizes size[], newest fresh[],
  records source_record[], audits effect[], settled done[], claimed criteria[], answers answer[]
) RETURNS TABLE(base int8, floor int8) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  open CONSTANT int8 := 1::int8 << 62;
  grown int8[];
  upto int4[];
  growth int4[];
BEGIN
  PERFORM pg_advisory_xact_lock(turn);
  SELECT coalesce(max(tx), 0), coalesce(max(at), 0) INTO base, floor FROM (SELECT * FROM tx ORDER BY tx DESC LIMIT 1) t;
  IF base <> seen AND (
    EXISTS (SELECT FROM unnest(rests) AS a(fh) JOIN dir d ON d.fh = a.fh
      JOIN version r ON r.person = d.person AND r.seq = d.seq WHERE r.from_tx > seen)
    OR EXISTS (SELECT FROM unnest(claims) AS a(h) JOIN ident i ON i.h = a.h JOIN dir d ON d.fh = i.fh
      JOIN version r ON r.person = d.person AND r.seq = d.seq WHERE r.from_tx > seen)
    OR EXISTS (SELECT FROM unnest(criteria) AS a(h) JOIN criteria c ON c.h = a.h WHERE c.tx > seen)
    OR EXISTS (SELECT FROM unnest(criteria) AS a(h) JOIN answer c ON c.h = a.h WHERE c.tx > seen)
    OR EXISTS (SELECT FROM unnest(stands) AS a LEFT JOIN record r ON r.src = a.src
      WHERE coalesce(r.patient || ' ' || md5(convert_to(r.said_at || r.state, 'UTF8') || r.content), '') <> a.stand)
  ) THEN
    RAISE serialization_failure;
  END IF;

  -- Others added rows to the same homes: the group's own come behind them.
  IF base <> seen THEN
    SELECT array_agg(a.person), array_agg(a.last), array_agg(a.more) INTO grown, upto, growth
      FROM (SELECT h.person, h.last::int4 AS last, (SELECT max(seq) FROM version v WHERE v.person = h.person) - h.last::int4 AS more
        FROM unnest(homes, lasts) AS h(person, last)) AS a WHERE a.more > 0;
  END IF;
  IF grown IS NOT NULL THEN
    IF EXISTS (SELECT FROM unnest(upto, growth) AS a(last, more) WHERE a.last + a.more > 16000000) THEN
      RAISE serialization_failure;  -- nearly full: the gateway counts while nobody else can add
    END IF;
    rows := ARRAY(SELECT ROW(a.person, a.from_tx, a.till_tx, a.at, a.fh, a.src, a.same, a.prev + coalesce(p.more, 0),
        a.seq + coalesce(s.more, 0), a.typ, a.member, a.acl, a.ver, a.flags, a.id, a.tk, a.keys, a.body)::version
      FROM unnest(rows) AS a LEFT JOIN unnest(grown, upto, growth) AS s(person, last, more) ON s.person = a.person
      LEFT JOIN unnest(grown, upto, growth) AS p(person, last, more)
        ON p.person = a.prev >> 24 AND (a.prev & 16777215) > p.last);
    ended := ARRAY(SELECT ROW(a.at, a.person, a.seq + coalesce(s.more, 0))::closed
      FROM unnest(ended) WITH ORDINALITY AS a(at, person, seq, n)
      LEFT JOIN unnest(grown, upto, growth) AS s(person, last, more) ON s.person = a.person AND a.seq > s.last
      ORDER BY a.n);
    born := ARRAY(SELECT ROW(a.fh, a.person, a.seq + coalesce(s.more, 0), a.ver)::dir FROM unnest(born) AS a
      LEFT JOIN unnest(grown, upto, growth) AS s(person, last, more) ON s.person = a.person AND a.seq > s.last);
    placed := ARRAY(SELECT ROW(a.fh, a.person, a.seq + coalesce(s.more, 0), a.ver)::dir FROM unnest(placed) AS a
      LEFT JOIN unnest(grown, upto, growth) AS s(person, last, more) ON s.person = a.person AND a.seq > s.last);
    dates := ARRAY(SELECT ROW(a.typ, a.param, a.lo, a.hi, a.person, a.seq + coalesce(s.more, 0), a.long)::date_order
      FROM unnest(dates) AS a LEFT JOIN unnest(grown, upto, growth) AS s(person, last, more) ON s.person = a.person);
    texts := ARRAY(SELECT ROW(a.typ, a.param, a.person, a.seq + coalesce(s.more, 0), a.text)::text_order
      FROM unnest(texts) AS a LEFT JOIN unnest(grown, upto, growth) AS s(person, last, more) ON s.person = a.person);
    aways := ARRAY(SELECT ROW(a.fh, a.person, a.seq + coalesce(s.more, 0))::away
      FROM unnest(aways) AS a LEFT JOIN unnest(grown, upto, growth) AS s(person, last, more) ON s.person = a.person);
  END IF;

  INSERT INTO tx SELECT base + n, greatest(floor, a.at) FROM unnest(instants) WITH ORDINALITY AS a(at, n);
  IF cardinality(ended) > 0 THEN
    UPDATE version r SET till_tx = base + a.n FROM unnest(ended, endings) AS a(at, person, seq, n)
      WHERE r.person = a.person AND r.seq = a.seq;
    INSERT INTO closed SELECT greatest(floor, a.at), a.person, a.seq FROM unnest(ended) AS a;
  END IF;
  IF cardinality(rows) > 0 THEN
    INSERT INTO version SELECT a.person, base + a.from_tx, CASE a.till_tx WHEN open THEN open ELSE base + a.till_tx END,
      greatest(floor, a.at), a.fh, a.src, a.same, a.prev, a.seq, a.typ, a.member, a.acl, a.ver, a.flags, a.id, a.tk,
      a.keys, a.body FROM unnest(rows) AS a;
    INSERT INTO size AS s SELECT * FROM unnest(sizes)
      ON CONFLICT (typ, member, acl, flags) DO UPDATE SET n = s.n + excluded.n, live = s.live + excluded.live;
  END IF;
  IF cardinality(newest) > 0 THEN
    INSERT INTO fresh SELECT a.member, greatest(floor, a.at) FROM unnest(newest) AS a
      ON CONFLICT (member) DO UPDATE SET at = excluded.at;
  END IF;
  IF cardinality(born) > 0 THEN
    INSERT INTO dir SELECT * FROM unnest(born);
  END IF;
  IF cardinality(placed) > 0 THEN
    UPDATE dir d SET person = a.person, seq = a.seq, ver = a.ver FROM unnest(placed) AS a WHERE d.fh = a.fh;
  END IF;
  IF cardinality(dates) > 0 THEN
    INSERT INTO date_order SELECT * FROM unnest(dates) ON CONFLICT DO NOTHING;
  END IF;
  IF cardinality(texts) > 0 THEN
    INSERT INTO text_order SELECT * FROM unnest(texts) ON CONFLICT DO NOTHING;
  END IF;
  IF cardinality(aways) > 0 THEN
    INSERT INTO away SELECT * FROM unnest(aways);
  END IF;
  IF cardinality(wordings) > 0 THEN
    INSERT INTO wording SELECT * FROM unnest(wordings) ON CONFLICT DO NOTHING;
  END IF;
  IF cardinality(idents) > 0 THEN
    INSERT INTO ident AS i SELECT * FROM unnest(idents)
      ON CONFLICT (h, fh) DO UPDATE SET person = excluded.person WHERE i.person <> excluded.person;
  END IF;
  IF cardinality(standing) > 0 THEN
    DELETE FROM survivor WHERE fh = ANY(standing);
  END IF;
  IF cardinality(led) > 0 THEN
    INSERT INTO survivor SELECT * FROM unnest(led) ON CONFLICT (fh) DO UPDATE SET id = excluded.id;
  END IF;
  IF cardinality(records) > 0 THEN
    INSERT INTO record SELECT * FROM unnest(records) ON CONFLICT (src) DO UPDATE
      SET patient = excluded.patient, content = excluded.content, said_at = excluded.said_at, state = excluded.state;
  END IF;
  IF cardinality(audits) > 0 THEN
    INSERT INTO effect(tx, said) SELECT base + a.tx, a.said FROM unnest(audits) AS a;
  END IF;
  IF cardinality(settled) > 0 THEN
    INSERT INTO done SELECT a.raw_key, base + a.tx, a.outcome FROM unnest(settled) AS a
      ON CONFLICT (raw_key) DO UPDATE SET tx = excluded.tx, outcome = excluded.outcome;
  END IF;
  IF cardinality(claimed) > 0 THEN
    INSERT INTO criteria SELECT a.h, base + a.tx, greatest(floor, a.at) FROM unnest(claimed) AS a
      ON CONFLICT (h) DO UPDATE SET tx = excluded.tx, at = excluded.at;
  END IF;
  IF cardinality(answers) > 0 THEN
    INSERT INTO answer SELECT a.h, base + a.tx, greatest(floor, a.at), a.digest, a.said, a.written
      FROM unnest(answers) AS a ON CONFLICT (h) DO UPDATE
      SET tx = excluded.tx, at = excluded.at, digest = excluded.digest, said = excluded.said, written = excluded.written;
  END IF;
  RETURN NEXT;
END $$;
