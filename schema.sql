-- The database of flowruns, schema 3: application_id is 0x666C726E ("flrn"), user_version is the
-- number of the schema. Documents are JSON text: any SQLite tool may read them while a server runs;
-- only the server may write.
--
-- One counter orders everything. Every write takes the next number of `sequence`. A run stores the
-- number of its first write (created_seq: its position in pages) and of its last (seq: its ETag and
-- its position among the changes).
--
-- Copies of a file must not give the same number to different writes. So the numbers of a new file, and
-- those of each opening that writes, begin at a random number above the last one and above the time in
-- microseconds. They stay below 2^53, so that JavaScript can read them.

create table sequence (                 -- one row: the state of the whole file
    seq         integer not null,       -- number of the last write
    runs        integer not null,       -- number of runs: the total of a page without filters
    cursor_key  blob    not null        -- signs cursors, so that they stay valid after a restart
) strict;

create table skipped (                  -- ranges of numbers that no write of this file has
    first       integer primary key,
    last        integer not null
) strict;

create table run (
    created_seq integer primary key,    -- number of the first write; negated: deleted, and so in no page
    seq         integer not null unique,-- number of the last write
    id          text    not null unique,
    flow_id     text    not null,
    flow_type   text    not null,       -- automation, selfServiceAction, scorecard, reference
    phase       text,                   -- an open vocabulary
    created_at  text    not null,       -- RFC 3339, UTC with milliseconds, so that it sorts as text
    created_by  integer,                -- user id; null: anonymous
    reviewed_at text,
    reviewed_by integer,
    tags        text,                   -- the tags of the document as JSON, to find out if a PUT changes them
    doc         text,                   -- the body of the response to a GET, byte for byte; null: deleted
    former_seq  integer                 -- number of the write that ended an earlier run with this id: its deletion, or
                                        -- an import with another created_at or created_by; null: there was none
) strict;

-- A page scans one index from its cursor on. The columns after created_seq allow it to check a second
-- filter without reading the rows.
create index run_by_flow    on run (flow_id,    created_seq, phase, flow_type) where created_seq > 0;
create index run_by_creator on run (created_by, created_seq) where created_seq > 0 and created_by is not null;
create index run_by_phase   on run (phase,      created_seq, flow_type) where created_seq > 0 and phase is not null;
create index run_by_type    on run (flow_type,  created_seq) where created_seq > 0;
create index run_by_time    on run (created_at, created_seq) where created_seq > 0;

create table tag (                      -- the tags of each run
    key         text    not null,
    value       text    not null,
    created_seq integer not null,       -- of the run
    primary key (key, value, created_seq)
) strict, without rowid;

create table run_counts (               -- number of runs of each kind, for totals without counting runs
    flow_id     text    not null,
    flow_type   text    not null,
    phase       text    not null,       -- empty: null
    runs        integer not null,
    primary key (flow_id, flow_type, phase)
) strict, without rowid;

create table tag_counts (               -- number of runs with each tag, for statistics without counting runs
    key         text    not null,
    value       text    not null,
    runs        integer not null,
    primary key (key, value)
) strict, without rowid;

create trigger run_created after insert on run begin
    update sequence set seq = max(seq, new.seq), runs = runs + (new.created_seq > 0);
    insert into run_counts select new.flow_id, new.flow_type, ifnull(new.phase, ''), 1 where new.created_seq > 0
        on conflict do update set runs = runs + 1;
end;

create trigger run_written after update on run begin
    update sequence set seq = max(seq, new.seq), runs = runs + (new.created_seq > 0) - (old.created_seq > 0);
end;

create trigger run_changed_kind after update of flow_id, flow_type, phase, created_seq on run
when (old.flow_id, old.flow_type, old.phase, old.created_seq > 0)
    is not (new.flow_id, new.flow_type, new.phase, new.created_seq > 0) begin
    update run_counts set runs = runs - 1 where old.created_seq > 0
        and (flow_id, flow_type, phase) = (old.flow_id, old.flow_type, ifnull(old.phase, ''));
    delete from run_counts where runs = 0
        and (flow_id, flow_type, phase) = (old.flow_id, old.flow_type, ifnull(old.phase, ''));
    insert into run_counts select new.flow_id, new.flow_type, ifnull(new.phase, ''), 1 where new.created_seq > 0
        on conflict do update set runs = runs + 1;
end;

create trigger tag_added after insert on tag begin
    insert into tag_counts values (new.key, new.value, 1) on conflict do update set runs = runs + 1;
end;

create trigger tag_removed after delete on tag begin
    update tag_counts set runs = runs - 1 where (key, value) = (old.key, old.value);
    delete from tag_counts where runs = 0 and (key, value) = (old.key, old.value);
end;
