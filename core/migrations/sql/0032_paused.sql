-- A channel that is paused is not looked at: alerts on it are over for that reason, and not because all is well.
alter table alerts
    drop constraint ck_alerts_closed_because,
    add constraint ck_alerts_closed_because check (closed_because in ('below', 'off', 'replaced', 'paused'));

-- Notices that a person gave up are forgotten with their time, like those that were sent.
drop index ix_outbox_messages_settled_at;
create index ix_outbox_messages_settled_at on outbox_messages (settled_at) where state in ('sent', 'unheard', 'discarded');
