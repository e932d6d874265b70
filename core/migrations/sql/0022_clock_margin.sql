-- A second of it is how vendors stamp, whole seconds of the real time whatever the clock; the rest is a duration of
-- theirs, which a sandbox in a hurry shortens like every other.
alter table connections add column clock_margin interval not null generated always as (
    interval '1 second' + interval '4 seconds' / coalesce(nullif((settings ->> 'clock_factor')::float8, 0), 1)
) stored;
comment on column connections.clock_margin is
    'how far the clock of its orders and that of what it shows may be apart';

-- may_be_overtaken in core/inventory/exposure.py. What it did not answer for may still be on its way to the channel.
create or replace function may_be_overtaken(p_shop_id bigint, p_write_id bigint) returns boolean language sql stable as $$
    select exists (
        select from listing_writes w
        join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
        join connections c on c.shop_id = w.shop_id and c.id = w.connection_id
        where w.shop_id = p_shop_id and w.id = p_write_id and w.outcome is null and w.from_units is null
            and w.road = 'call' and w.accepted_at is not null
            and l.published_at > w.sent_at and l.unseen_units = 0 and l.edited_units = 0 and l.blurred_units = 0
            and c.reads_orders and c.watermark_at >= l.published_at + c.clock_margin)
$$;
