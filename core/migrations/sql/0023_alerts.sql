-- Alerts with states, subjects and a history. A row is one episode of something that is wrong: open, or acknowledged by
-- somebody, or resolved. What comes back within a policy's time is the next episode, and knows the one before it.

-- Every kind has a rule with thresholds of its own; what nobody has changed goes by the defaults of core.alerts.terms.
alter table alert_rules
    drop constraint ck_alert_rules_kind,
    add column is_on boolean,
    add column terms jsonb default '{}' not null;
update alert_rules set is_on = limit_units is not null;
alter table alert_rules
    alter column is_on set not null,
    add constraint ck_alert_rules_kind check (kind ~ '^[a-z_]+$'),
    add constraint ck_alert_rules_limit_is_of_exposure check (
        case when kind = 'exposure' then is_on = (limit_units is not null) else limit_units is null end),
    add constraint ck_alert_rules_terms check (jsonb_typeof(terms) = 'object');
comment on table alert_rules is 'what a person changed of when somebody is told; no row: the defaults, and of exposure never';
comment on column alert_rules.limit_units is 'of exposure: told when more units than that are at risk; null: switched off';
comment on column alert_rules.is_on is 'whether the condition is looked for at all';
comment on column alert_rules.terms is 'thresholds that differ from the defaults, by name';

drop view alert_list;
drop view open_alerts;

alter table alerts
    drop constraint ck_alerts_kind,
    add column severity text,
    add column connection_id bigint,
    add column headline text,
    add column sentence text,
    add column next_step text,
    add column page text,
    add column address jsonb default '{}' not null,
    add column orders bigint default 0 not null,
    add column size bigint,
    add column told_size bigint,
    add column regressed_from bigint,
    add column relapses integer default 0 not null,
    add column clear_since timestamptz,
    add column unknown_since timestamptz,
    add column unknown_because text,
    add column acknowledged_at timestamptz,
    add column acknowledged_by text,
    add column acknowledged_reason text;

-- Alerts from before they carried words.
update alerts a set
    severity = case when kind in ('exposure', 'stuck_change', 'unconfirmed_shipment') then 'danger' else 'attention' end,
    size = units, told_size = worst_units,
    connection_id = case when kind = 'credential' then (
        select c.id from connections c where c.shop_id = a.shop_id and 'credential:' || c.id = a.fingerprint) end,
    headline = case kind
        when 'exposure' then units || ' units could be oversold'
        when 'stuck_change' then units || ' changes have not reached a channel in time'
        when 'slow_feed' then 'A feed does not end'
        when 'unshown_feed' then units || ' numbers of an ended feed are not shown'
        when 'unconfirmed_shipment' then units || ' packages are not confirmed'
        else 'A credential ends' end,
    sentence = 'From before alerts told more than that.',
    next_step = 'Look at the page.',
    page = case kind
        when 'exposure' then 'oversell' when 'stuck_change' then 'skus' when 'unconfirmed_shipment' then 'orders'
        else 'connections' end;

alter table alerts
    alter column severity set not null,
    alter column headline set not null,
    alter column sentence set not null,
    alter column next_step set not null,
    alter column page set not null,
    alter column size set not null,
    alter column told_size set not null,
    add column state text generated always as (
        case when closed_at is not null then 'resolved' when acknowledged_at is not null then 'acknowledged' else 'open' end
    ) stored,
    add constraint fk_alerts_connections_shop_id_connection_id
        foreign key (shop_id, connection_id) references connections (shop_id, id),
    add constraint ck_alerts_kind check (kind ~ '^[a-z_]+$'),
    add constraint ck_alerts_fingerprint check (fingerprint = kind or fingerprint like kind || ':%'),
    add constraint ck_alerts_severity check (severity in ('danger', 'attention')),
    add constraint ck_alerts_told check (btrim(headline) <> '' and btrim(sentence) <> '' and btrim(next_step) <> ''),
    add constraint ck_alerts_relapses check ((relapses > 0) = (regressed_from is not null) and regressed_from < id),
    add constraint ck_alerts_unknown check ((unknown_since is null) = (unknown_because is null)),
    add constraint ck_alerts_acknowledged check (
        (acknowledged_at is null) = (acknowledged_by is null) and (acknowledged_at is null) = (acknowledged_reason is null)
        and coalesce(btrim(acknowledged_by) <> '' and btrim(acknowledged_reason) <> '', true)),
    add constraint ck_alerts_closed_is_known check (closed_at is null or unknown_since is null);
comment on column alerts.kind is 'what is wrong; has a rule, and thresholds in core.alerts.terms';
comment on column alerts.fingerprint is 'what it is about: its kind, and what of it; open once at most';
comment on column alerts.limit_units is 'of exposure: above which it opened; else 0';
comment on column alerts.units is 'affected when it was last looked at; of exposure at risk, of hanging changes legs';
comment on column alerts.connection_id is 'whose trouble it is; null: the shop''s';
comment on column alerts.page is 'where to look: the url_path of a page, with `address` as its parameters';
comment on column alerts.orders is 'affected when it was last looked at';
comment on column alerts.size is 'how bad it is, in the kind''s own measure: what "much worse" is judged by';
comment on column alerts.told_size is 'the greatest size that was ever told of';
comment on column alerts.regressed_from is 'the episode before, when this one opened within the policy''s time of its end';
comment on column alerts.relapses is 'how many times in a row it has come back';
comment on column alerts.clear_since is 'since when its condition is gone; it closes when that has lasted';
comment on column alerts.unknown_since is 'since when its condition cannot be computed: until it can be it stays as it is';
create index ix_alerts_fingerprint on alerts (shop_id, fingerprint, opened_at);

-- What an episode is about never changes, what was told is not untold, and what is closed stays as it was.
create function keep_alert() returns trigger language plpgsql as $$
begin
    if old.closed_at is not null then
        raise exception 'alert % is closed: what comes back is the next episode', old.id using errcode = 'restrict_violation';
    end if;
    if (new.shop_id, new.id, new.kind, new.fingerprint, new.opened_at, new.regressed_from, new.relapses, new.opened_units)
       is distinct from
       (old.shop_id, old.id, old.kind, old.fingerprint, old.opened_at, old.regressed_from, old.relapses, old.opened_units)
       or (old.acknowledged_at is not null and (new.acknowledged_at, new.acknowledged_by, new.acknowledged_reason)
           is distinct from (old.acknowledged_at, old.acknowledged_by, old.acknowledged_reason))
       or new.told_size < old.told_size
    then
        raise exception 'what alert % is about, who has it and what was told of it are kept', old.id
            using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger episode_is_kept before update on alerts for each row execute function keep_alert();

create table alert_events (
    shop_id bigint not null,
    id bigint generated always as identity,
    alert_id bigint not null,
    at timestamptz not null,
    what text not null,
    who text not null,
    words text not null,
    constraint pk_alert_events primary key (shop_id, id),
    constraint fk_alert_events_alerts_shop_id_alert_id foreign key (shop_id, alert_id)
        references alerts (shop_id, id) on delete cascade,
    constraint ck_alert_events_what
        check (what in ('opened', 'regressed', 'worse', 'acknowledged', 'resolved', 'told', 'muted')),
    constraint ck_alert_events_who check (btrim(who) <> '')
);
comment on table alert_events is 'the history of alerts: added, never edited; goes with its alert when that is forgotten';
comment on column alert_events.who is 'a person; of what the engine does, switchyard';
create index ix_alert_events_alert on alert_events (shop_id, alert_id, id);
-- An episode begins once, however it began, is taken by one person, and ends once.
create unique index uq_alert_events_begun on alert_events (shop_id, alert_id) where what in ('opened', 'regressed');
create unique index uq_alert_events_taken on alert_events (shop_id, alert_id) where what = 'acknowledged';
create unique index uq_alert_events_ended on alert_events (shop_id, alert_id) where what = 'resolved';
create trigger append_only before update or truncate on alert_events for each statement execute function refuse_change();

-- A check that fails says nothing: not that all is well. While there is a row, alerts of that kind stay as they are.
create table unmade_checks (
    shop_id bigint not null,
    kind text not null,
    since timestamptz not null,
    because text not null,
    constraint pk_unmade_checks primary key (shop_id, kind),
    constraint fk_unmade_checks_shops_shop_id foreign key (shop_id) references shops (shop_id),
    constraint ck_unmade_checks_kind check (kind ~ '^[a-z_]+$')
);
comment on table unmade_checks is 'conditions of alerts that could not be computed when they were last looked for; no row: they could';

-- How much waited in a lane, minute by minute while anything did. With what was done since, arrivals follow.
create table backlog_samples (
    shop_id bigint not null,
    connection_id bigint not null,
    lane text not null,
    at timestamptz not null,
    waiting bigint not null,
    oldest_at timestamptz,
    done bigint not null,
    constraint pk_backlog_samples primary key (shop_id, connection_id, lane, at),
    constraint fk_backlog_samples_connections_shop_id_connection_id
        foreign key (shop_id, connection_id) references connections (shop_id, id),
    constraint ck_backlog_samples_lane check (lane in ('events', 'stock')),
    constraint ck_backlog_samples_counts check (waiting >= 0 and done >= 0)
);
comment on table backlog_samples is 'what waited in each lane over the last hours: messages to handle, quantities to write';
comment on column backlog_samples.done is 'how much had been done in the lane by then, counted from any beginning';

-- How often a channel is heard of, hour by hour over weeks: what silence is judged by, also after messages were pruned.
create table heard_hours (
    shop_id bigint not null,
    connection_id bigint not null,
    hour_at timestamptz not null,
    messages bigint not null,
    constraint pk_heard_hours primary key (shop_id, connection_id, hour_at),
    constraint fk_heard_hours_connections_shop_id_connection_id
        foreign key (shop_id, connection_id) references connections (shop_id, id),
    constraint ck_heard_hours_messages check (messages >= 0)
);
comment on table heard_hours is 'messages that were recorded of a channel in an hour, by whatever road; 0 is on record too';

create view alert_list with (security_invoker = true) as
select
    a.shop_id, a.id as alert_id, a.kind, a.fingerprint, a.severity, a.state, a.regressed_from, a.relapses, a.headline,
    a.sentence, a.next_step, a.page, a.address, a.connection_id, c.name as connection, a.units, a.worst_units, a.skus,
    a.orders, a.worst_skus, a.size, a.told_size, a.limit_units, a.opened_units, a.opened_at, a.checked_at, a.clear_since,
    coalesce(a.unknown_since, u.since) as unknown_since, coalesce(a.unknown_because, u.because) as unknown_because,
    a.closed_at, a.closed_because, a.acknowledged_at, a.acknowledged_by, a.acknowledged_reason, a.is_told,
    (select count(*) from alerts e where e.shop_id = a.shop_id and e.fingerprint = a.fingerprint
        and e.opened_at > now() - interval '30 days') as times
from alerts a
left join connections c on c.shop_id = a.shop_id and c.id = a.connection_id
left join unmade_checks u on u.shop_id = a.shop_id and u.kind = a.kind and a.closed_at is null;

create view open_alerts with (security_invoker = true) as
select
    a.shop_id, a.id as alert_id, a.kind, a.limit_units, a.units, a.skus, a.worst_skus, a.opened_at, a.fingerprint,
    a.severity, a.state, a.regressed_from, a.headline, a.sentence, a.next_step, a.page, a.address, a.connection_id,
    c.name as connection, a.orders, a.checked_at, coalesce(a.unknown_since, u.since) as unknown_since,
    coalesce(a.unknown_because, u.because) as unknown_because, a.acknowledged_at, a.acknowledged_by, a.acknowledged_reason
from alerts a
left join connections c on c.shop_id = a.shop_id and c.id = a.connection_id
left join unmade_checks u on u.shop_id = a.shop_id and u.kind = a.kind
where a.closed_at is null;

create view alert_event_list with (security_invoker = true) as
select e.shop_id, e.alert_id, e.id as event_id, e.at, e.what, e.who, e.words from alert_events e;

create or replace view alert_rule_list with (security_invoker = true) as
select r.shop_id, r.kind, r.limit_units, r.set_by, r.reason, r.set_at, r.is_on, r.terms from alert_rules r;
