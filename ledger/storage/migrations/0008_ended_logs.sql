-- Checkpoints of a log that ended stay, and the one that goes on (`recover anew`) comes to the same sizes once more: a size has
-- one row for each origin, the first line of the note.
ALTER TABLE ledger.checkpoints DROP CONSTRAINT checkpoints_pkey;
CREATE UNIQUE INDEX checkpoints_of_a_log ON ledger.checkpoints (size, split_part(note, chr(10), 1) COLLATE "C");
ALTER TABLE ledger.witnessed DROP CONSTRAINT witnessed_pkey;
CREATE UNIQUE INDEX witnessed_of_a_log ON ledger.witnessed (size, split_part(note, chr(10), 1) COLLATE "C");
ALTER TABLE ledger.timestamps DROP CONSTRAINT timestamps_pkey;
CREATE UNIQUE INDEX timestamps_of_a_log ON ledger.timestamps (size, split_part(note, chr(10), 1) COLLATE "C");
