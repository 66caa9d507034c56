BEGIN TRANSACTION;
CREATE TABLE clock (                    -- one row: what the whole file shares
    seq         integer not null,       -- number of the last write
    runs        integer not null,       -- how many runs there are: the total of the unfiltered list
    cursor_key  blob    not null        -- signs cursors, so that they survive restarts
) strict;
INSERT INTO "clock" VALUES(12,5,X'2ED3A4DC4DFAE739E9D38E2DAC7BAF4B39361EC9A0F02C647A3CB916B8F53FE0');
CREATE TABLE run (
    created_seq integer primary key,    -- number of the first write; below zero: deleted, where no page looks
    seq         integer not null unique,-- number of the last write
    id          text    not null unique,
    flow_id     text    not null,
    flow_type   text    not null,       -- automation, selfServiceAction, scorecard, reference
    phase       text,                   -- an open vocabulary
    created_at  text    not null,       -- RFC 3339 UTC with milliseconds, so that it sorts as text
    created_by  integer,                -- user id; null: anonymous
    reviewed_at text,
    reviewed_by integer,
    tags        text,                   -- the document's tags as JSON: tells whether a PUT changes them
    doc         text                    -- the answer of GET, byte for byte; null: deleted
) strict;
INSERT INTO "run" VALUES(-11,11,'gh-check-1424883451','test-checks.outstanding','scorecard','running','2026-11-24T00:32:34.342Z',NULL,NULL,NULL,'[{"key":"source","value":"github-checks"},{"key":"repository","value":"hub4j-test-org/test-checks"},{"key":"check","value":"outstanding"}]',NULL);
INSERT INTO "run" VALUES(-8,8,'bitbucket-5decbbb2-f4e6-4f3a-aab0-f74c40497c50','bitbucket.pipeline','automation','succeeded','2026-11-24T00:32:34.334Z',7,NULL,NULL,'[{"key":"source","value":"bitbucket-pipelines"},{"key":"branch","value":"0.5-alpha"}]',NULL);
INSERT INTO "run" VALUES(1,7,'bitbucket-ee91b6d3-7736-482c-892f-ad1e923d145e','bitbucket.pipeline','automation',NULL,'2026-11-24T00:32:34.332Z',7,NULL,NULL,'[{"key":"source","value":"bitbucket-pipelines"},{"key":"branch","value":"0.5-alpha"}]','{"id":"bitbucket-ee91b6d3-7736-482c-892f-ad1e923d145e","flowId":"bitbucket.pipeline","flowType":"automation","args":{"ref":"0.5-alpha","sha":"9e1574b68b04610b93e84ae8650f91f7ff416b7b"},"phase":null,"startTime":"2023-02-20T09:09:50.315Z","endTime":"2023-02-20T09:09:50.299Z","actions":null,"outputs":{"result":"FAILED","durationInSeconds":0},"logs":null,"tags":[{"key":"source","value":"bitbucket-pipelines"},{"key":"branch","value":"0.5-alpha"}],"createdAt":"2026-11-24T00:32:34.332Z","createdBy":7,"updatedAt":"2026-11-24T00:32:34.340Z","updatedBy":8,"reviewedBy":null,"reviewedAt":null}');
INSERT INTO "run" VALUES(4,4,'gh-hook.check_run.created','hello-world.octocoders-linter','scorecard','pending','2026-11-24T00:32:34.336Z',7,NULL,NULL,'[{"key":"source","value":"github-checks"},{"key":"repository","value":"Codertocat/Hello-World"},{"key":"check","value":"Octocoders-linter"}]','{"id":"gh-hook.check_run.created","flowId":"hello-world.octocoders-linter","flowType":"scorecard","args":{"repository":"Codertocat/Hello-World","sha":"ec26c3e57ca3a959ca5aad62de7213c562f8c821","ref":"changes","check":"Octocoders-linter"},"phase":"pending","startTime":"2019-05-15T15:21:12.000Z","endTime":null,"actions":null,"outputs":null,"logs":null,"tags":[{"key":"source","value":"github-checks"},{"key":"repository","value":"Codertocat/Hello-World"},{"key":"check","value":"Octocoders-linter"}],"createdAt":"2026-11-24T00:32:34.336Z","createdBy":7,"updatedAt":"2026-11-24T00:32:34.336Z","updatedBy":7,"reviewedBy":null,"reviewedAt":null}');
INSERT INTO "run" VALUES(5,5,'gh-2566218975','ants.tests','automation','running','2026-11-24T00:32:34.337Z',7,NULL,NULL,'[{"key":"source","value":"github-actions"},{"key":"repository","value":"panjf2000/ants"},{"key":"event","value":"push"},{"key":"branch","value":"master"}]','{"id":"gh-2566218975","flowId":"ants.tests","flowType":"automation","args":{"repository":"panjf2000/ants","event":"push","ref":"master","sha":"32664cb1408f8d9ffa7236335025a4cd94a306ce","workflowId":5904663,"runNumber":72,"runAttempt":1},"phase":"running","startTime":"2022-06-27T01:29:54.000Z","endTime":null,"actions":null,"outputs":null,"logs":null,"tags":[{"key":"source","value":"github-actions"},{"key":"repository","value":"panjf2000/ants"},{"key":"event","value":"push"},{"key":"branch","value":"master"}],"createdAt":"2026-11-24T00:32:34.337Z","createdBy":7,"updatedAt":"2026-11-24T00:32:34.337Z","updatedBy":7,"reviewedBy":null,"reviewedAt":null}');
INSERT INTO "run" VALUES(6,6,'gh-hook.workflow_dispatch.payload','octo-repo.hello-world-workflow','selfServiceAction','pending','2026-11-24T00:32:34.337Z',7,NULL,NULL,'[{"key":"source","value":"github-actions"},{"key":"repository","value":"octo-org/octo-repo"},{"key":"event","value":"workflow_dispatch"}]','{"id":"gh-hook.workflow_dispatch.payload","flowId":"octo-repo.hello-world-workflow","flowType":"selfServiceAction","args":{"repository":"octo-org/octo-repo","ref":"refs/heads/master","workflow":".github/workflows/hello-world-workflow.yml","inputs":{"name":"Mona the Octocat"}},"phase":"pending","startTime":null,"endTime":null,"actions":null,"outputs":null,"logs":null,"tags":[{"key":"source","value":"github-actions"},{"key":"repository","value":"octo-org/octo-repo"},{"key":"event","value":"workflow_dispatch"}],"createdAt":"2026-11-24T00:32:34.337Z","createdBy":7,"updatedAt":"2026-11-24T00:32:34.337Z","updatedBy":7,"reviewedBy":null,"reviewedAt":null}');
INSERT INTO "run" VALUES(12,12,'two','schema','reference','running','2026-11-28T19:09:35.663Z',3,NULL,NULL,'[{"key":"schema","value":"2"}]','{"id":"two","flowId":"schema","flowType":"reference","args":null,"phase":"running","startTime":null,"endTime":null,"actions":null,"outputs":null,"logs":null,"tags":[{"key":"schema","value":"2"}],"createdAt":"2026-11-28T19:09:35.663Z","createdBy":3,"updatedAt":"2026-11-28T19:09:35.663Z","updatedBy":3,"reviewedBy":null,"reviewedAt":null}');
CREATE TABLE tag (                      -- the tags of each run, deleted ones too
    key         text    not null,
    value       text    not null,
    created_seq integer not null,       -- of the run
    primary key (key, value, created_seq)
) strict, without rowid;
INSERT INTO "tag" VALUES('branch','0.5-alpha',1);
INSERT INTO "tag" VALUES('branch','master',5);
INSERT INTO "tag" VALUES('check','Octocoders-linter',4);
INSERT INTO "tag" VALUES('event','push',5);
INSERT INTO "tag" VALUES('event','workflow_dispatch',6);
INSERT INTO "tag" VALUES('repository','Codertocat/Hello-World',4);
INSERT INTO "tag" VALUES('repository','octo-org/octo-repo',6);
INSERT INTO "tag" VALUES('repository','panjf2000/ants',5);
INSERT INTO "tag" VALUES('schema','2',12);
INSERT INTO "tag" VALUES('source','bitbucket-pipelines',1);
INSERT INTO "tag" VALUES('source','github-actions',5);
INSERT INTO "tag" VALUES('source','github-actions',6);
INSERT INTO "tag" VALUES('source','github-checks',4);
CREATE TABLE tally (                    -- how many runs of each kind: totals that need no count
    flow_id     text    not null,
    flow_type   text    not null,
    phase       text    not null,       -- empty: null
    runs        integer not null,
    primary key (flow_id, flow_type, phase)
) strict, without rowid;
INSERT INTO "tally" VALUES('ants.tests','automation','running',1);
INSERT INTO "tally" VALUES('bitbucket.pipeline','automation','',1);
INSERT INTO "tally" VALUES('hello-world.octocoders-linter','scorecard','pending',1);
INSERT INTO "tally" VALUES('octo-repo.hello-world-workflow','selfServiceAction','pending',1);
INSERT INTO "tally" VALUES('schema','reference','running',1);
CREATE INDEX run_by_flow    on run (flow_id,    created_seq, phase, flow_type) where created_seq > 0;
CREATE INDEX run_by_creator on run (created_by, created_seq) where created_seq > 0 and created_by is not null;
CREATE INDEX run_by_type    on run (flow_type,  created_seq) where created_seq > 0;
CREATE INDEX run_by_time    on run (created_at, created_seq) where created_seq > 0;
CREATE TRIGGER run_created after insert on run begin
    update clock set seq = max(seq, new.seq), runs = runs + (new.created_seq > 0);
    insert into tally select new.flow_id, new.flow_type, ifnull(new.phase, ''), 1 where new.created_seq > 0
        on conflict do update set runs = runs + 1;
end;
CREATE TRIGGER run_written after update on run begin
    update clock set seq = max(seq, new.seq), runs = runs + (new.created_seq > 0) - (old.created_seq > 0);
end;
CREATE TRIGGER run_changed_kind after update of flow_id, flow_type, phase, created_seq on run
when (old.flow_id, old.flow_type, old.phase, old.created_seq > 0)
    is not (new.flow_id, new.flow_type, new.phase, new.created_seq > 0) begin
    update tally set runs = runs - 1 where old.created_seq > 0
        and (flow_id, flow_type, phase) = (old.flow_id, old.flow_type, ifnull(old.phase, ''));
    delete from tally where runs = 0
        and (flow_id, flow_type, phase) = (old.flow_id, old.flow_type, ifnull(old.phase, ''));
    insert into tally select new.flow_id, new.flow_type, ifnull(new.phase, ''), 1 where new.created_seq > 0
        on conflict do update set runs = runs + 1;
end;
CREATE INDEX run_by_phase on run (phase, created_seq, flow_type) where created_seq > 0 and phase is not null;
COMMIT;
