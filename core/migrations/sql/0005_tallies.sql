-- Counts that never fall, for monitoring: what ran, was called and was settled, also after its rows were pruned.
-- Only ever inserted, so that nobody waits for a row that a frozen process holds; folded into few rows by the sweep of
-- runs (core.measures.fold). The inbox adds its own, in the statement that settles: triggers on big rows cost a tenth.
create table tallies (
    id bigint generated always as identity,
    kind text not null,
    connection_id bigint,
    name text not null,
    outcome text not null,
    events bigint not null,
    seconds double precision default 0 not null,
    constraint pk_tallies primary key (id),
    constraint ck_tallies_kind check (kind in ('job_run', 'api_call', 'inbox'))
);
comment on column tallies.connection_id is 'ids of connections are unique among all shops';
comment on column tallies.name is 'function, operation, or empty';
comment on column tallies.seconds is 'how long they took together';

-- The process that ran a job knows best: it may replace a mistaken `abandoned`, and then both are counted.
create function tally_job_runs() returns trigger language plpgsql as $$
begin
    insert into tallies (kind, name, outcome, events, seconds)
    select 'job_run', n.function, n.outcome, count(*), coalesce(sum(extract(epoch from n.ended_at - n.started_at)), 0)
    from is_now n join was w using (id)
    where n.outcome is not null and n.outcome is distinct from w.outcome group by n.function, n.outcome;
    return null;
end $$;
create trigger tallied after update on job_runs referencing old table as was new table as is_now
    for each statement execute function tally_job_runs();

create function tally_api_calls() returns trigger language plpgsql as $$
begin
    insert into tallies (kind, connection_id, name, outcome, events, seconds)
    select 'api_call', connection_id, operation, outcome, count(*), sum(elapsed_ms) / 1000.0
    from added group by connection_id, operation, outcome;
    return null;
end $$;
create trigger tallied after insert on api_calls referencing new table as added
    for each statement execute function tally_api_calls();

-- Dead notices are rare and looked for at every scrape.
create index ix_outbox_messages_dead on outbox_messages (shop_id, id) where state = 'dead';
