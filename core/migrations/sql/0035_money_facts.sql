-- What an order's money consists of, as the channel tells it, so that each line's can be split among whom it belongs to.
alter table orders add column taxes_included boolean, add column codes text[] not null default '{}';
comment on column orders.taxes_included is
    'prices of lines and carriage contain the taxes; null where the channel does not tell';
comment on column orders.codes is 'discount and referral codes that the buyer came with, as typed';

alter table order_lines add column tax_minor bigint;
comment on column order_lines.tax_minor is
    'taxes after discounts, included in the total or on top; null where the channel does not tell';

alter table refunds add column shipping_minor bigint, add column shipping_tax_minor bigint;
comment on column refunds.shipping_minor is
    'of it carriage, as it was charged: with tax where prices contain it; null where not told';
comment on column refunds.shipping_tax_minor is 'taxes of that carriage; null where not told';

alter table refund_lines add column tax_minor bigint;
comment on column refund_lines.tax_minor is 'taxes given back with it; null where the channel does not tell';
