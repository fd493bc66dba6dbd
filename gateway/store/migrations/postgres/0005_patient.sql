-- Versions of Patients once more, one beside the other. Among the versions of everything they lie one a page, and a
-- search for a name read a page for each it found. Kept by the database itself, whoever writes. 1538449324 is the number
-- of the type.
CREATE TABLE patient(LIKE version INCLUDING STORAGE, PRIMARY KEY(person, seq)) WITH (fillfactor = 90);

INSERT INTO patient SELECT * FROM version WHERE typ = 1538449324;

-- As those of `version`, so that the same questions go the same ways.
CREATE INDEX patient_tx ON patient(typ, from_tx, person, seq);
CREATE INDEX patient_tk ON patient USING gin(tk) WITH (gin_pending_list_limit = 512);

CREATE FUNCTION keep_patient() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO patient SELECT NEW.* ON CONFLICT DO NOTHING;  -- restored before its version
  ELSE
    UPDATE patient SET till_tx = NEW.till_tx, tk = NEW.tk, keys = NEW.keys WHERE person = NEW.person AND seq = NEW.seq;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER version_patient AFTER INSERT OR UPDATE ON version
  FOR EACH ROW WHEN (NEW.typ = 1538449324) EXECUTE FUNCTION keep_patient();
