-- Parties, commission rules, what every line comes to, and the ledger that it is posted to.
create table parties (
    shop_id bigint not null,
    id bigint generated always as identity,
    kind text not null,
    code text not null,
    name text not null,
    return_window_days integer,
    created_at timestamptz not null,
    ended_at timestamptz,
    constraint pk_parties primary key (shop_id, id),
    constraint fk_parties_shops_shop_id foreign key(shop_id) references shops (shop_id),
    constraint uq_parties_shop_id_code unique (shop_id, code),
    constraint ck_parties_kind check (kind in ('platform', 'brand_shop', 'affiliate_retailer', 'social_seller', 'creator', 'referrer')),
    constraint ck_parties_named check (btrim(code) <> '' and btrim(name) <> ''),
    constraint ck_parties_return_window_days check (return_window_days between 0 and 365)
);
comment on column parties.code is 'short and unique: what files and statements call it';
comment on column parties.return_window_days is 'of what it sells; null: the company''s';
comment on column parties.ended_at is 'it takes part in nothing new since; its past stays';
create unique index uq_parties_platform on parties (shop_id) where kind = 'platform';

create table money_settings (
    shop_id bigint not null,
    return_window_days integer default '14' not null,
    window_from text default 'shipped' not null,
    approval_limit_minor bigint default '10000' not null,
    constraint pk_money_settings primary key (shop_id),
    constraint fk_money_settings_shops_shop_id foreign key(shop_id) references shops (shop_id),
    constraint ck_money_settings_return_window_days check (return_window_days between 0 and 365),
    constraint ck_money_settings_window_from check (window_from in ('shipped', 'placed')),
    constraint ck_money_settings_approval_limit_minor check (approval_limit_minor >= 0)
);
comment on column money_settings.window_from is 'shipped: since the last goods of the order left; placed: since it was placed';
comment on column money_settings.approval_limit_minor is 'an adjustment above it, in any currency''s minor units, needs a second person';

create table commission_versions (
    shop_id bigint not null,
    id bigint generated always as identity,
    saved_by text not null,
    reason text not null,
    saved_at timestamptz not null,
    undoes_id bigint,
    constraint pk_commission_versions primary key (shop_id, id),
    constraint fk_commission_versions_shops_shop_id foreign key(shop_id) references shops (shop_id),
    constraint fk_commission_versions_commission_versions_shop_id_undoes_id foreign key(shop_id, undoes_id) references commission_versions (shop_id, id),
    constraint uq_commission_versions_shop_id_undoes_id unique (shop_id, undoes_id),
    constraint ck_commission_versions_named_and_reasoned check (btrim(saved_by) <> '' and btrim(reason) <> '')
);
comment on table commission_versions is 'of rules and assignments together: what a set of changes was saved as';
comment on column commission_versions.undoes_id is 'the version whose change it takes back; at most one does';

create table party_assignments (
    shop_id bigint not null,
    id bigint generated always as identity,
    role text not null,
    party_id bigint not null,
    connection_id bigint,
    category text,
    sku_id bigint,
    customer_ref text,
    order_code text,
    valid_from timestamptz,
    valid_to timestamptz,
    begun_id bigint not null,
    ended_id bigint,
    constraint pk_party_assignments primary key (shop_id, id),
    constraint fk_party_assignments_parties_shop_id_party_id foreign key(shop_id, party_id) references parties (shop_id, id),
    constraint fk_party_assignments_connections_shop_id_connection_id foreign key(shop_id, connection_id) references connections (shop_id, id),
    constraint fk_party_assignments_skus_shop_id_sku_id foreign key(shop_id, sku_id) references skus (shop_id, id),
    constraint fk_party_assignments_commission_versions_shop_id_begun_id foreign key(shop_id, begun_id) references commission_versions (shop_id, id),
    constraint fk_party_assignments_commission_versions_shop_id_ended_id foreign key(shop_id, ended_id) references commission_versions (shop_id, id),
    constraint ck_party_assignments_role check (role in ('seller', 'creator', 'referrer')),
    constraint ck_party_assignments_category_or_sku check (category is null or sku_id is null),
    constraint ck_party_assignments_valid check (valid_from < valid_to),
    constraint ck_party_assignments_order_code check (order_code = upper(order_code) and order_code <> '')
);
comment on table party_assignments is 'which lines concern whom: every column that is set must match, the most specific wins';
comment on column party_assignments.role is 'as what the party takes part in the lines it is for';
comment on column party_assignments.category is 'of SKUs, compared exactly';
comment on column party_assignments.customer_ref is 'the channel''s id of the buyer';
comment on column party_assignments.order_code is 'a discount or referral code that the buyer came with, in capitals';
comment on column party_assignments.valid_from is 'for orders placed since; null: always';
comment on column party_assignments.valid_to is 'for orders placed before';
comment on column party_assignments.ended_id is 'the version that ended it; null while it lives';
create index ix_party_assignments_begun on party_assignments (shop_id, begun_id);
create index ix_party_assignments_customer on party_assignments (shop_id, customer_ref) where ended_id is null and customer_ref is not null;
create index ix_party_assignments_ended on party_assignments (shop_id, ended_id) where ended_id is not null;
create index ix_party_assignments_party on party_assignments (shop_id, party_id) where ended_id is null;
create index ix_party_assignments_sku on party_assignments (shop_id, sku_id) where ended_id is null;

create table commission_rules (
    shop_id bigint not null,
    id bigint generated always as identity,
    kind text not null,
    base text not null,
    seller_id bigint,
    payee_id bigint,
    connection_id bigint,
    category text,
    sku_id bigint,
    form text not null,
    rate_ppm integer,
    fixed_minor bigint,
    currency text,
    tier_from_minor bigint[],
    tier_ppm integer[],
    borne_by text default 'seller' not null,
    on_refund text default 'returned' not null,
    tax_basis text default 'net' not null,
    tax_to text,
    valid_from timestamptz,
    valid_to timestamptz,
    begun_id bigint not null,
    ended_id bigint,
    constraint pk_commission_rules primary key (shop_id, id),
    constraint fk_commission_rules_parties_shop_id_seller_id foreign key(shop_id, seller_id) references parties (shop_id, id),
    constraint fk_commission_rules_parties_shop_id_payee_id foreign key(shop_id, payee_id) references parties (shop_id, id),
    constraint fk_commission_rules_connections_shop_id_connection_id foreign key(shop_id, connection_id) references connections (shop_id, id),
    constraint fk_commission_rules_skus_shop_id_sku_id foreign key(shop_id, sku_id) references skus (shop_id, id),
    constraint fk_commission_rules_commission_versions_shop_id_begun_id foreign key(shop_id, begun_id) references commission_versions (shop_id, id),
    constraint fk_commission_rules_commission_versions_shop_id_ended_id foreign key(shop_id, ended_id) references commission_versions (shop_id, id),
    constraint ck_commission_rules_kind check (kind in ('platform_fee', 'creator_commission', 'referrer_fee', 'channel_fee')),
    constraint ck_commission_rules_base check (base in ('item', 'shipping')),
    constraint ck_commission_rules_payee check (payee_id is null or kind in ('creator_commission', 'referrer_fee')),
    constraint ck_commission_rules_category_or_sku check (category is null or sku_id is null),
    constraint ck_commission_rules_form check (case form when 'percentage' then rate_ppm between 0 and 1000000 and num_nonnulls(fixed_minor, tier_from_minor, tier_ppm) = 0 when 'fixed' then fixed_minor >= 0 and currency is not null and num_nonnulls(rate_ppm, tier_from_minor, tier_ppm) = 0 when 'tiered' then cardinality(tier_from_minor) >= 1 and tier_from_minor[1] = 0 and cardinality(tier_from_minor) = cardinality(tier_ppm) and currency is not null and num_nonnulls(rate_ppm, fixed_minor) = 0 else false end),
    constraint ck_commission_rules_borne_by check (borne_by in ('seller', 'platform')),
    constraint ck_commission_rules_on_refund check (on_refund in ('returned', 'kept')),
    constraint ck_commission_rules_tax_basis check (tax_basis in ('net', 'gross')),
    constraint ck_commission_rules_tax_to check ((tax_to is not null) = (kind = 'platform_fee' and base = 'item') and (tax_to is null or tax_to in ('authority', 'seller'))),
    constraint ck_commission_rules_platform_fee_is_the_sellers check (kind <> 'platform_fee' or borne_by = 'seller'),
    constraint ck_commission_rules_valid check (valid_from < valid_to)
);
comment on table commission_rules is 'who, channel, category and SKU say what a rule is for, null for all; the most specific wins';
comment on column commission_rules.id is 'a row is one version of a rule';
comment on column commission_rules.base is 'what it is taken of: the line''s items, or its share of carriage';
comment on column commission_rules.seller_id is 'for lines of this seller; null: of any';
comment on column commission_rules.payee_id is 'for this creator or referrer; null: for any';
comment on column commission_rules.category is 'of SKUs, compared exactly';
comment on column commission_rules.rate_ppm is 'percentage: in millionths, 125000 is 12.5 %';
comment on column commission_rules.fixed_minor is 'fixed: for each unit (items) or each line (carriage)';
comment on column commission_rules.currency is 'fixed and tiered: of their amounts; other currencies are not touched by it';
comment on column commission_rules.tier_from_minor is 'tiered: the month''s volume from which each rate holds';
comment on column commission_rules.tier_ppm is 'tiered: the rate for what lies above, in millionths';
comment on column commission_rules.borne_by is 'whose share it is taken out of';
comment on column commission_rules.on_refund is 'returned: the payee gives it back with the goods; kept: the bearer bears it';
comment on column commission_rules.tax_basis is 'whether it is taken of amounts with taxes';
comment on column commission_rules.tax_to is 'platform fee on items: who takes the line''s taxes: authority (we remit them) or the seller';
comment on column commission_rules.valid_from is 'for orders placed since; null: always';
comment on column commission_rules.valid_to is 'for orders placed before';
comment on column commission_rules.ended_id is 'the version that ended it; null while it lives';
create index ix_commission_rules_begun on commission_rules (shop_id, begun_id);
create index ix_commission_rules_ended on commission_rules (shop_id, ended_id) where ended_id is not null;
create index ix_commission_rules_living on commission_rules (shop_id, kind, base) where ended_id is null;

create table commission_terms (
    shop_id bigint not null,
    id bigint generated always as identity,
    seller_id bigint,
    creator_id bigint,
    referrer_id bigint,
    category text,
    item_rules bigint[] not null,
    shipping_rules bigint[] not null,
    window_days integer not null,
    frozen_at timestamptz not null,
    constraint pk_commission_terms primary key (shop_id, id),
    constraint fk_commission_terms_parties_shop_id_seller_id foreign key(shop_id, seller_id) references parties (shop_id, id),
    constraint fk_commission_terms_parties_shop_id_creator_id foreign key(shop_id, creator_id) references parties (shop_id, id),
    constraint fk_commission_terms_parties_shop_id_referrer_id foreign key(shop_id, referrer_id) references parties (shop_id, id),
    constraint ck_commission_terms_rules check (cardinality(item_rules) = 4 and cardinality(shipping_rules) = 4)
);
comment on table commission_terms is 'what lines were booked by: never changed, so that it stays frozen on them';
comment on column commission_terms.seller_id is 'null: the platform sells it itself';
comment on column commission_terms.category is 'of the SKU, as it was then';
comment on column commission_terms.item_rules is 'the versions of rules: platform, creator, referrer, channel; 0 where none is for it';
comment on column commission_terms.window_days is 'how long the buyer may return';
comment on column commission_terms.frozen_at is 'when first a line was booked by them';
create unique index uq_commission_terms_of on commission_terms (shop_id, seller_id, creator_id, referrer_id, category, item_rules, shipping_rules, window_days) nulls not distinct;

create table chargebacks (
    shop_id bigint not null,
    id bigint generated always as identity,
    order_id bigint not null,
    channel_ref text not null,
    amount_minor bigint not null,
    opened_at timestamptz not null,
    reason text not null,
    state text default 'open' not null,
    decided_at timestamptz,
    recorded_by text not null,
    recorded_at timestamptz not null,
    constraint pk_chargebacks primary key (shop_id, id),
    constraint fk_chargebacks_orders_shop_id_order_id foreign key(shop_id, order_id) references orders (shop_id, id),
    constraint uq_chargebacks_shop_id_order_id_channel_ref unique (shop_id, order_id, channel_ref),
    constraint ck_chargebacks_amount check (amount_minor > 0),
    constraint ck_chargebacks_state check (state in ('open', 'won', 'lost') and (state = 'open') = (decided_at is null))
);
comment on column chargebacks.channel_ref is 'the dispute''s number at the channel or the bank';
comment on column chargebacks.amount_minor is 'taken back, in the order''s currency';

create table payout_holds (
    shop_id bigint not null,
    id bigint generated always as identity,
    party_id bigint,
    order_id bigint,
    reason text not null,
    placed_by text not null,
    placed_at timestamptz not null,
    lifted_by text,
    lifted_reason text,
    lifted_at timestamptz,
    constraint pk_payout_holds primary key (shop_id, id),
    constraint fk_payout_holds_parties_shop_id_party_id foreign key(shop_id, party_id) references parties (shop_id, id),
    constraint fk_payout_holds_orders_shop_id_order_id foreign key(shop_id, order_id) references orders (shop_id, id),
    constraint ck_payout_holds_of_one check (num_nonnulls(party_id, order_id) = 1),
    constraint ck_payout_holds_lifted check (num_nonnulls(lifted_by, lifted_reason, lifted_at) in (0, 3))
);
comment on column payout_holds.party_id is 'nothing of it is paid out';
comment on column payout_holds.order_id is 'nothing of it becomes payable';
create unique index uq_payout_holds_order on payout_holds (shop_id, order_id) where lifted_at is null and order_id is not null;
create unique index uq_payout_holds_party on payout_holds (shop_id, party_id) where lifted_at is null and party_id is not null;

create table ledger_accounts (
    shop_id bigint not null,
    id bigint generated always as identity,
    kind text not null,
    party_id bigint,
    connection_id bigint,
    currency text not null,
    opened_at timestamptz not null,
    constraint pk_ledger_accounts primary key (shop_id, id),
    constraint fk_ledger_accounts_shops_shop_id foreign key(shop_id) references shops (shop_id),
    constraint fk_ledger_accounts_parties_shop_id_party_id foreign key(shop_id, party_id) references parties (shop_id, id),
    constraint fk_ledger_accounts_connections_shop_id_connection_id foreign key(shop_id, connection_id) references connections (shop_id, id),
    constraint ck_ledger_accounts_kind check (kind in ('payable', 'refund_reserve', 'platform', 'shipping', 'tax', 'channel_receivable', 'channel_fees', 'payout_clearing', 'adjustments', 'unassigned')),
    constraint ck_ledger_accounts_party check ((kind in ('payable', 'refund_reserve')) = (party_id is not null))
);
comment on table ledger_accounts is 'one currency each; a balance is the sum of its entries, debits positive';
comment on column ledger_accounts.kind is 'what it stands for; core/ledger/rules.py lists the kinds';
comment on column ledger_accounts.party_id is 'whose it is; null where it is not a party''s';
comment on column ledger_accounts.connection_id is 'of which channel; null where it is not a channel''s';
create index ix_ledger_accounts_party on ledger_accounts (shop_id, party_id) where party_id is not null;
create unique index uq_ledger_accounts_name on ledger_accounts (shop_id, kind, party_id, connection_id, currency) nulls not distinct;

create table ledger_transactions (
    shop_id bigint not null,
    id bigint generated always as identity,
    key text not null,
    kind text not null,
    order_id bigint,
    event_at timestamptz not null,
    recorded_at timestamptz not null,
    note text not null,
    recorded_by text not null,
    constraint pk_ledger_transactions primary key (shop_id, id),
    constraint uq_ledger_transactions_shop_id_key unique (shop_id, key)
);
comment on column ledger_transactions.key is 'of the fact it stands for: the same fact is posted once';
comment on column ledger_transactions.kind is 'sale, refund, release ...; core/ledger/rules.py lists the kinds';
comment on column ledger_transactions.order_id is 'the order it is of, where it is of one';
comment on column ledger_transactions.event_at is 'when it happened';
comment on column ledger_transactions.recorded_at is 'when we wrote it: `as of` goes by this';
comment on column ledger_transactions.note is 'in words, for whoever reads a statement; names no person who bought';
create index ix_ledger_transactions_shop_id_order_id on ledger_transactions (shop_id, order_id) where order_id is not null;
create index ix_ledger_transactions_shop_id_recorded_at_id on ledger_transactions (shop_id, recorded_at, id);

create table ledger_entries (
    shop_id bigint not null,
    transaction_id bigint not null,
    account_id bigint not null,
    amount_minor bigint not null,
    currency text not null,
    constraint pk_ledger_entries primary key (shop_id, transaction_id, account_id),
    constraint ck_ledger_entries_amount check (amount_minor <> 0)
);
comment on table ledger_entries is 'one for each account that a transaction touches; what they refer to is checked by the statement''s trigger';
comment on column ledger_entries.amount_minor is 'debit positive, credit negative';
comment on column ledger_entries.currency is 'its account''s';
create index ix_ledger_entries_account on ledger_entries (shop_id, account_id, transaction_id) include (amount_minor);

create table ledger_seals (
    shop_id bigint not null,
    number bigint not null,
    first_id bigint not null,
    last_id bigint not null,
    transactions integer not null,
    members bytea not null,
    previous_head bytea not null,
    head bytea not null,
    sealed_at timestamptz not null,
    constraint pk_ledger_seals primary key (shop_id, number),
    constraint fk_ledger_seals_shops_shop_id foreign key(shop_id) references shops (shop_id),
    constraint ck_ledger_seals_number check (number >= 1),
    constraint ck_ledger_seals_members check (transactions >= 1 and first_id <= last_id and octet_length(members) = transactions * 40),
    constraint ck_ledger_seals_heads check (octet_length(previous_head) = 32 and octet_length(head) = 32),
    constraint ck_ledger_seals_chained check (head = sha256(previous_head || members))
);
comment on column ledger_seals.number is 'its place in the chain, from 1';
comment on column ledger_seals.first_id is 'the lowest id of the transactions that it seals';
comment on column ledger_seals.members is 'id (8 bytes, big endian) and SHA-256 (32) of each transaction, in order of id';
comment on column ledger_seals.previous_head is 'the head before; 32 zero bytes for the first';
comment on column ledger_seals.head is 'SHA-256 of the head before and of the members';
create index ix_ledger_seals_shop_id_last_id on ledger_seals (shop_id, last_id);

create table ledger_anchors (
    shop_id bigint not null,
    id bigint generated always as identity,
    day date not null,
    seal_number bigint not null,
    head bytea not null,
    place text not null,
    anchored_at timestamptz not null,
    constraint pk_ledger_anchors primary key (shop_id, id),
    constraint fk_ledger_anchors_ledger_seals_shop_id_seal_number foreign key(shop_id, seal_number) references ledger_seals (shop_id, number),
    constraint uq_ledger_anchors_shop_id_day_place unique (shop_id, day, place),
    constraint ck_ledger_anchors_head check (octet_length(head) = 32)
);
comment on column ledger_anchors.day is 'the business day in the shop''s zone';
comment on column ledger_anchors.seal_number is 'the last seal that it covers';
comment on column ledger_anchors.place is 'where it was put outside of the database';

create table ledger_account_days (
    shop_id bigint not null,
    id bigint generated always as identity,
    account_id bigint not null,
    day date not null,
    debit_minor bigint not null,
    credit_minor bigint not null,
    entries bigint not null,
    constraint pk_ledger_account_days primary key (shop_id, id),
    constraint fk_ledger_account_days_ledger_accounts_shop_id_account_id foreign key(shop_id, account_id) references ledger_accounts (shop_id, id)
);
comment on table ledger_account_days is 'what each statement added to an account on a day; rows alike are folded into one';
comment on column ledger_account_days.day is 'of recording, in the shop''s zone of that time';
comment on column ledger_account_days.credit_minor is 'positive';
create index ix_ledger_account_days_shop_id_account_id_day on ledger_account_days (shop_id, account_id, day);

create table commission_accruals (
    shop_id bigint not null,
    id bigint generated always as identity,
    order_id bigint,
    order_line_id bigint,
    customer_return_id bigint,
    connection_id bigint,
    ordinal integer not null,
    base text not null,
    cause text not null,
    refund_id bigint,
    chargeback_id bigint,
    terms_id bigint,
    currency text not null,
    net_minor bigint not null,
    tax_minor bigint not null,
    seller_minor bigint not null,
    platform_minor bigint not null,
    creator_minor bigint not null,
    referrer_minor bigint not null,
    channel_minor bigint not null,
    authority_minor bigint not null,
    unassigned_minor bigint not null,
    sold_minor bigint,
    volumes_minor bigint[],
    transaction_id bigint,
    event_at timestamptz not null,
    recorded_at timestamptz not null,
    constraint pk_commission_accruals primary key (shop_id, id),
    constraint ck_commission_accruals_of_one check (num_nonnulls(order_id, customer_return_id) = 1),
    constraint ck_commission_accruals_line_of_order check (order_line_id is null or order_id is not null),
    constraint ck_commission_accruals_base check (base in ('item', 'shipping', 'other')),
    constraint ck_commission_accruals_cause check (cause in ('sale', 'edit', 'refund', 'cancellation', 'chargeback', 'chargeback_won', 'mapping', 'return')),
    constraint ck_commission_accruals_shares_sum_to_the_total check (net_minor + tax_minor = seller_minor + platform_minor + creator_minor + referrer_minor + channel_minor + authority_minor + unassigned_minor)
);
comment on table commission_accruals is 'what a line came to, and each thing that changed it: facts, summed by whoever asks';
comment on column commission_accruals.order_id is 'null: given back without an order';
comment on column commission_accruals.order_line_id is 'null: of the order as a whole';
comment on column commission_accruals.connection_id is 'the order''s; null: given back without an order';
comment on column commission_accruals.ordinal is 'which fact of its line or order it is, from 1';
comment on column commission_accruals.terms_id is 'null while its line is not mapped, or of the order as a whole';
comment on column commission_accruals.net_minor is 'without taxes; what it changed by';
comment on column commission_accruals.tax_minor is 'the taxes on it';
comment on column commission_accruals.authority_minor is 'taxes that we remit';
comment on column commission_accruals.unassigned_minor is 'of a line that is not mapped';
comment on column commission_accruals.sold_minor is 'of the order as a whole: what that was sold for, before anything was given back';
comment on column commission_accruals.volumes_minor is 'the month''s volume before it, of each tiered rule: platform, creator, referrer, channel';
comment on column commission_accruals.transaction_id is 'the ledger''s; null where it moved nothing between accounts';
comment on column commission_accruals.event_at is 'when it happened';
create index ix_commission_accruals_transaction on commission_accruals (shop_id, transaction_id) where transaction_id is not null;
create unique index uq_commission_accruals_of on commission_accruals (shop_id, order_id, order_line_id, base, ordinal) nulls not distinct where order_id is not null;
create unique index uq_commission_accruals_return on commission_accruals (shop_id, customer_return_id, ordinal) where customer_return_id is not null;

create table commission_windows (
    shop_id bigint not null,
    order_id bigint not null,
    days integer not null,
    starts_at timestamptz,
    closes_at timestamptz,
    waits_for text,
    released_at timestamptz,
    transaction_id bigint,
    constraint pk_commission_windows primary key (shop_id, order_id, days),
    constraint fk_commission_windows_orders_shop_id_order_id foreign key(shop_id, order_id) references orders (shop_id, id),
    constraint fk_commission_windows_ledger_transactions_shop_id_trans_feee foreign key(shop_id, transaction_id) references ledger_transactions (shop_id, id),
    constraint ck_commission_windows_waits_for check (waits_for in ('shipment', 'payment', 'hold'))
);
comment on table commission_windows is 'in which the buyers of some lines may return: one for each order and length';
comment on column commission_windows.days is 'of the terms that its lines were booked by';
comment on column commission_windows.starts_at is 'null: nothing has left yet';
comment on column commission_windows.closes_at is 'from then on what was earned is payable; null: not known yet';
comment on column commission_windows.waits_for is 'why it cannot close yet; null: only for its time';
comment on column commission_windows.transaction_id is 'the ledger''s, that made it payable; null where nothing was held';
create index ix_commission_windows_due on commission_windows (closes_at) where released_at is null;
create index ix_commission_windows_open on commission_windows (shop_id, order_id) where released_at is null;
create index ix_commission_windows_transaction on commission_windows (shop_id, transaction_id) where transaction_id is not null;

create table commission_volumes (
    shop_id bigint not null,
    kind text not null,
    base text not null,
    party_id bigint not null,
    currency text not null,
    month date not null,
    volume_minor bigint not null,
    constraint pk_commission_volumes primary key (shop_id, kind, base, party_id, currency, month),
    constraint fk_commission_volumes_shops_shop_id foreign key(shop_id) references shops (shop_id)
);
comment on column commission_volumes.kind is 'of the rules that are tiered by it';
comment on column commission_volumes.party_id is 'whose volume; 0: the platform''s';
comment on column commission_volumes.month is 'its first day, in the shop''s zone';
comment on column commission_volumes.volume_minor is 'booked under tiered rules; refunds do not lower it';

create table adjustments (
    shop_id bigint not null,
    id bigint generated always as identity,
    party_id bigint not null,
    currency text not null,
    amount_minor bigint not null,
    reason text not null,
    asked_by text not null,
    asked_at timestamptz not null,
    needs_approval boolean not null,
    state text not null,
    decided_by text,
    decided_reason text,
    decided_at timestamptz,
    transaction_id bigint,
    constraint pk_adjustments primary key (shop_id, id),
    constraint fk_adjustments_parties_shop_id_party_id foreign key(shop_id, party_id) references parties (shop_id, id),
    constraint fk_adjustments_ledger_transactions_shop_id_transaction_id foreign key(shop_id, transaction_id) references ledger_transactions (shop_id, id),
    constraint ck_adjustments_amount check (amount_minor <> 0),
    constraint ck_adjustments_named_and_reasoned check (btrim(reason) <> '' and btrim(asked_by) <> ''),
    constraint ck_adjustments_state check (state in ('waiting', 'posted', 'refused')),
    constraint ck_adjustments_posted check ((state = 'posted') = (transaction_id is not null)),
    constraint ck_adjustments_second_person check (not needs_approval or state = 'waiting' or decided_by is not null and lower(decided_by) <> lower(asked_by) or state = 'refused')
);
comment on column adjustments.amount_minor is 'positive: given to the party; negative: taken from it';
create index ix_adjustments_shop_id_party_id_id on adjustments (shop_id, party_id, id);
create index ix_adjustments_waiting on adjustments (shop_id, id) where state = 'waiting';

create table commission_days (
    shop_id bigint not null,
    id bigint generated always as identity,
    day date not null,
    connection_id bigint,
    category text,
    seller_id bigint,
    creator_id bigint,
    referrer_id bigint,
    currency text not null,
    base text not null,
    cause text not null,
    net_minor bigint not null,
    tax_minor bigint not null,
    seller_minor bigint not null,
    platform_minor bigint not null,
    creator_minor bigint not null,
    referrer_minor bigint not null,
    channel_minor bigint not null,
    authority_minor bigint not null,
    unassigned_minor bigint not null,
    accruals bigint not null,
    constraint pk_commission_days primary key (shop_id, id),
    constraint fk_commission_days_shops_shop_id foreign key(shop_id) references shops (shop_id)
);
comment on table commission_days is 'what each statement added, by what it is summed by; rows alike are folded into one';
comment on column commission_days.day is 'when it happened, in the shop''s zone';
comment on column commission_days.connection_id is 'null: given back without an order';
comment on column commission_days.category is 'as it was frozen on the lines';
create index ix_commission_days_shop_id_day on commission_days (shop_id, day);
create index ix_commission_days_shop_id_seller_id_day on commission_days (shop_id, seller_id, day);

