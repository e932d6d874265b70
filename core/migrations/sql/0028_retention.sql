-- Who is told of what, and what each was told.

-- Where a shop's operators are told: a chat's webhook, or mail. Its address is a secret and sealed as one.
create table notice_channels (
    shop_id bigint not null,
    id bigint generated always as identity,
    name text not null,
    medium text not null,
    shown text not null,
    sealed bytea,
    kinds text[],
    least_severity text not null,
    rhythm text not null,
    daily_hour integer,
    most_an_hour integer not null,
    is_quiet boolean default false not null,
    created_at timestamptz not null,
    changed_at timestamptz not null,
    removed_at timestamptz,
    last_success_at timestamptz,
    last_error text,
    last_error_at timestamptz,
    failures integer default 0 not null,
    retry_at timestamptz,
    constraint pk_notice_channels primary key (shop_id, id),
    constraint fk_notice_channels_shop_id_shops foreign key (shop_id) references shops (shop_id),
    constraint ck_notice_channels_named check (btrim(name) <> ''),
    constraint ck_notice_channels_medium check (medium in ('slack', 'mail')),
    constraint ck_notice_channels_least_severity check (least_severity in ('info', 'attention', 'danger')),
    constraint ck_notice_channels_rhythm check (rhythm in ('at_once', 'hourly', 'daily')),
    constraint ck_notice_channels_daily_hour check (
        (rhythm = 'daily') = (daily_hour is not null) and coalesce(daily_hour between 0 and 23, true)),
    constraint ck_notice_channels_most_an_hour check (most_an_hour between 1 and 1000),
    constraint ck_notice_channels_kinds check (kinds is null or cardinality(kinds) > 0),
    constraint ck_notice_channels_removed check ((removed_at is null) = (sealed is not null)),
    constraint ck_notice_channels_error check ((last_error is null) = (last_error_at is null)),
    constraint ck_notice_channels_failures check (failures >= 0)
);
comment on table notice_channels is 'where operators of a shop are told, of what, and how often';
comment on column notice_channels.shown is 'its address as people may see it: without secrets, names of people masked';
comment on column notice_channels.sealed is
    'its address, Fernet token; the keys are in SWITCHYARD_SECRET_KEYS; gone when it is removed';
comment on column notice_channels.kinds is 'what it is told of; null: of everything';
comment on column notice_channels.rhythm is 'at_once, or gathered: hourly, or daily at an hour of the shop''s zone';
comment on column notice_channels.most_an_hour is 'messages within any hour; what is beyond that is gathered into one';
comment on column notice_channels.is_quiet is 'it is told nothing now; what comes meanwhile waits, and is gathered into one';
comment on column notice_channels.failures is 'attempts that failed since the last that did not';
comment on column notice_channels.retry_at is 'nothing is sent to it before; null: it answers, or was never tried';
create unique index uq_notice_channels_shop_id_name on notice_channels (shop_id, name) where removed_at is null;

alter table outbox_messages
    drop constraint ck_outbox_messages_state,
    add column channel_id bigint,
    add column released_at timestamptz,
    add column gathered_in bigint,
    add column answer text,
    add column alert_id bigint generated always as (substring(dedupe_key from '^alert:([0-9]{1,18})')::bigint) stored,
    add constraint fk_outbox_messages_shop_id_channel_id_notice_channels
        foreign key (shop_id, channel_id) references notice_channels (shop_id, id),
    add constraint fk_outbox_messages_shop_id_gathered_in_outbox_messages
        foreign key (shop_id, gathered_in) references outbox_messages (shop_id, id) on delete cascade,
    add constraint ck_outbox_messages_state
        check (state in ('held', 'waiting', 'sent', 'gathered', 'unheard', 'dead', 'discarded')),
    add constraint ck_outbox_messages_gathered check ((state = 'gathered') = (gathered_in is not null)),
    add constraint ck_outbox_messages_held check (state <> 'held' or channel_id is not null);
comment on column outbox_messages.state is
    'held: for its channel''s digest, or until the channel may be told more; waiting: to be sent; gathered: another message carries it; unheard: there was nobody to tell; discarded: a person gave it up; sent and dead: it is over';
comment on column outbox_messages.channel_id is 'whom it is for; null: the installation''s own address';
comment on column outbox_messages.released_at is 'when it was decided to send it by itself: what the most an hour is counted by';
comment on column outbox_messages.gathered_in is 'the message that carries it; it is forgotten with that';
comment on column outbox_messages.answer is 'what the other side answered when it took it';
comment on column outbox_messages.alert_id is 'the alert that it tells of, by its key';
create index ix_outbox_messages_alert_id on outbox_messages (shop_id, alert_id, id) where alert_id is not null;
create index ix_outbox_messages_held on outbox_messages (shop_id, channel_id, next_attempt_at) where state = 'held';
create index ix_outbox_messages_released on outbox_messages (shop_id, channel_id, released_at)
    where released_at is not null;
create index ix_outbox_messages_gathered_in on outbox_messages (shop_id, gathered_in) where gathered_in is not null;

-- When what is said at `said` is due by a rhythm: at once, at the next full hour, or at the next such hour of the shop's
-- day. On the day on which that hour is left out it is due an hour later; where it comes twice, once.
create function notice_due(rhythm text, daily_hour integer, zone text, said timestamptz) returns timestamptz
language sql stable as $$
    select case rhythm
        when 'hourly' then date_trunc('hour', said, zone) + interval '1 hour'
        when 'daily' then (
            select min(at) from (
                select (date_trunc('day', said at time zone zone) + days.ahead * interval '1 day'
                        + daily_hour * interval '1 hour') at time zone zone as at
                from generate_series(0, 1) days(ahead)) hours where at > said)
        else said
    end
$$;

-- Whom a shop tells, without addresses.
--   held, due_at   what is gathered for its next digest, waits for room or for the end of quiet, and when it is due
--   sent_hour      messages that count against `most_an_hour` now
create view notice_channel_list with (security_invoker = true) as
select
    c.shop_id, c.id as channel_id, c.name, c.medium, c.shown, c.kinds, c.least_severity, c.rhythm, c.daily_hour,
    c.most_an_hour, c.is_quiet, c.created_at, c.changed_at, c.last_success_at, c.last_error, c.last_error_at, c.failures,
    c.retry_at, held.held, held.due_at, held.since as held_since, waiting.waiting, dead.dead, sent.sent_hour,
    case
        when c.is_quiet then 'muted'
        when c.failures > 0 then 'failing'
        when c.last_success_at is null then 'untried'
        when c.last_error is not null then 'flawed'
        else 'heard'
    end as state, now() as as_of
from notice_channels c
cross join lateral (
    select count(*) as held, min(m.next_attempt_at) as due_at, min(m.created_at) as since from outbox_messages m
    where m.shop_id = c.shop_id and m.channel_id = c.id and m.state = 'held') held
cross join lateral (
    select count(*) as waiting from outbox_messages m
    where m.shop_id = c.shop_id and m.channel_id = c.id and m.state = 'waiting') waiting
cross join lateral (
    select count(*) as dead from outbox_messages m
    where m.shop_id = c.shop_id and m.channel_id = c.id and m.state = 'dead') dead
cross join lateral (
    select count(*) as sent_hour from outbox_messages m
    where m.shop_id = c.shop_id and m.channel_id = c.id and m.released_at > now() - interval '1 hour') sent
where c.removed_at is null;

-- What was said to whom. A message that gathers others is not among them: what it carries is.
--   state   sent, dead or unheard; sending; digest (gathered at its time), crowded (until the channel may be told more),
--           muted (its channel is quiet); in another message it is as that one is
create view notice_log with (security_invoker = true) as
select
    m.shop_id, m.id as message_id, m.kind = 'notice_test' as is_test, m.payload ->> 'about' as kind,
    m.payload ->> 'severity' as severity, m.payload ->> 'subject' as subject, m.payload ->> 'text' as text,
    m.alert_id, m.channel_id, c.name as channel, c.medium,
    c.removed_at is not null as is_removed, m.created_at, m.next_attempt_at,
    case
        when m.state in ('held', 'waiting') and c.is_quiet and m.kind <> 'notice_test' then 'muted'
        when m.state = 'held' then case when c.rhythm = 'at_once' then 'crowded' else 'digest' end
        else case coalesce(g.state, m.state) when 'waiting' then 'sending' else coalesce(g.state, m.state) end
    end as state,
    m.gathered_in, coalesce(g.attempts, m.attempts) as attempts, coalesce(g.settled_at, m.settled_at) as settled_at,
    coalesce(g.last_error, m.last_error) as last_error, coalesce(g.answer, m.answer) as answer,
    m.payload ->> 'by' as asked_by, jsonb_array_length(coalesce(m.payload -> 'attachments', '[]')) as attachments,
    now() as as_of
from outbox_messages m
left join notice_channels c on c.shop_id = m.shop_id and c.id = m.channel_id
left join outbox_messages g on g.shop_id = m.shop_id and g.id = m.gathered_in
where m.kind in ('notice', 'notice_test');
