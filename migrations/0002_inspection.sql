-- How much text a call moved, where its portal inspects.
ALTER TABLE audit_events ADD COLUMN inspected_out_bytes INTEGER;
ALTER TABLE audit_events ADD COLUMN inspected_in_bytes INTEGER;
