-- Where a reading of all products is: one that ends by the clock, or with its worker, is taken up from there.
alter table product_readings
    add column whole_began_at timestamptz,
    add column whole_to timestamptz,
    add column whole_counts jsonb not null default '{}';
comment on column product_readings.whole_began_at is 'when the reading of all of them began that is not done yet';
comment on column product_readings.whole_to is 'the channel''s time of the last change that it took in: it goes on there';
comment on column product_readings.whole_counts is 'what it has counted so far';
