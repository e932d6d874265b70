-- Channel rules: who may sell how much of what. A saved change is a version; it begins and ends rules, and its listings
-- are re-planned afterwards, from a mark that is kept here.
alter table skus add column is_category_kept boolean not null default false;
comment on column skus.is_category_kept is 'a person chose the category: the catalogue does not change it any more';

create table policy_versions (
    shop_id bigint not null,
    id bigint generated always as identity,
    saved_by text not null,
    reason text not null,
    saved_at timestamptz not null,
    undoes_id bigint,
    listings_total bigint,
    listings_done bigint not null default 0,
    listings_changed bigint not null default 0,
    after_listing_id bigint not null default 0,
    started_at timestamptz,
    finished_at timestamptz,
    constraint pk_policy_versions primary key (shop_id, id),
    constraint fk_policy_versions_shops_shop_id foreign key (shop_id) references shops (shop_id),
    constraint fk_policy_versions_policy_versions_shop_id_undoes_id foreign key (shop_id, undoes_id)
        references policy_versions (shop_id, id),
    constraint uq_policy_versions_shop_id_undoes_id unique (shop_id, undoes_id),
    constraint ck_policy_versions_named_and_reasoned check (btrim(saved_by) <> '' and btrim(reason) <> ''),
    constraint ck_policy_versions_progress
        check (listings_done >= 0 and listings_changed between 0 and listings_done)
);
create index ix_policy_versions_unfinished on policy_versions (shop_id, id) where finished_at is null;
comment on column policy_versions.undoes_id is 'the version whose change it takes back; at most one does';
comment on column policy_versions.listings_total is 'how many listings it concerns; null until the re-plan begins';
comment on column policy_versions.listings_changed is 'of those done, how many have another rule or another number now';
comment on column policy_versions.after_listing_id is 'listings up to this one follow it';

create table channel_policies (
    shop_id bigint not null,
    id bigint generated always as identity,
    connection_id bigint,
    category text,
    sku_id bigint,
    safety_stock_units integer,
    share_percent numeric(5, 2),
    buffer_units integer,
    floor_units integer,
    cap_units integer,
    priority integer,
    is_offered boolean,
    begun_id bigint not null,
    ended_id bigint,
    constraint pk_channel_policies primary key (shop_id, id),
    constraint fk_channel_policies_connections_shop_id_connection_id foreign key (shop_id, connection_id)
        references connections (shop_id, id),
    constraint fk_channel_policies_skus_shop_id_sku_id foreign key (shop_id, sku_id) references skus (shop_id, id),
    constraint fk_channel_policies_policy_versions_shop_id_begun_id foreign key (shop_id, begun_id)
        references policy_versions (shop_id, id),
    constraint fk_channel_policies_policy_versions_shop_id_ended_id foreign key (shop_id, ended_id)
        references policy_versions (shop_id, id),
    constraint ck_channel_policies_category_or_sku check (category is null or sku_id is null),
    constraint ck_channel_policies_says_something check (num_nonnulls(safety_stock_units, share_percent, buffer_units,
        floor_units, cap_units, priority, is_offered) > 0),
    constraint ck_channel_policies_terms check (safety_stock_units >= 0 and share_percent between 0 and 100
        and buffer_units >= 0 and floor_units >= 0 and cap_units >= 0 and priority between 0 and 100),
    constraint ck_channel_policies_floor_below_cap check (floor_units <= cap_units)
);
create unique index uq_channel_policies_scope on channel_policies (shop_id, connection_id, category, sku_id)
    nulls not distinct where ended_id is null;
create index ix_channel_policies_shop_id_sku_id on channel_policies (shop_id, sku_id) where ended_id is null;
create index ix_channel_policies_shop_id_category on channel_policies (shop_id, category) where ended_id is null;
create index ix_channel_policies_begun on channel_policies (shop_id, begun_id);
create index ix_channel_policies_ended on channel_policies (shop_id, ended_id) where ended_id is not null;
comment on table channel_policies is 'connection, category and SKU say what a rule is for, null for all; a term that is null is inherited';
comment on column channel_policies.category is 'of SKUs, compared exactly';
comment on column channel_policies.ended_id is 'the version that ended it; null while it lives';

-- What a rule said while it lived is a fact: it may end, once, and nothing else of it changes.
create function keep_policy() returns trigger language plpgsql as $$
begin
    if old.ended_id is not null or (to_jsonb(new) - 'ended_id') is distinct from (to_jsonb(old) - 'ended_id') then
        raise exception 'channel rule % is a fact: save a new version instead of changing it', old.id
            using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger only_ends before update on channel_policies for each row execute function keep_policy();
create trigger never_deleted before delete or truncate on channel_policies
    for each statement execute function refuse_change();

create function keep_policy_version() returns trigger language plpgsql as $$
begin
    if (new.shop_id, new.id, new.saved_by, new.reason, new.saved_at, new.undoes_id)
        is distinct from (old.shop_id, old.id, old.saved_by, old.reason, old.saved_at, old.undoes_id) then
        raise exception 'version % of the channel rules is a fact: only its progress changes', old.id
            using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger only_progresses before update on policy_versions for each row execute function keep_policy_version();
create trigger never_deleted before delete or truncate on policy_versions
    for each statement execute function refuse_change();

-- The living rules with their names, and who made each, when and why. `breadth` orders them, most specific last.
create view channel_policy_list with (security_invoker = true) as
select
    p.shop_id, p.id as policy_id, p.connection_id, c.name as connection, p.category, p.sku_id, s.code, s.title,
    p.safety_stock_units, p.share_percent, p.buffer_units, p.floor_units, p.cap_units, p.priority, p.is_offered,
    (case when p.sku_id is not null then 4 else 0 end + case when p.category is not null then 2 else 0 end
        + case when p.connection_id is not null then 1 else 0 end) as breadth,
    v.id as version_id, v.saved_by, v.reason, v.saved_at
from channel_policies p
join policy_versions v on v.shop_id = p.shop_id and v.id = p.begun_id
left join connections c on c.shop_id = p.shop_id and c.id = p.connection_id
left join skus s on s.shop_id = p.shop_id and s.id = p.sku_id
where p.ended_id is null;

-- Every version with its progress. `can_undo`: nobody undid it, and no later version touched what it touched.
create view policy_version_list with (security_invoker = true) as
select
    v.shop_id, v.id as version_id, v.saved_by, v.reason, v.saved_at, v.undoes_id, v.listings_total, v.listings_done,
    v.listings_changed, v.started_at, v.finished_at, u.id as undone_by_id,
    (select count(*) from channel_policies p where p.shop_id = v.shop_id and p.begun_id = v.id) as begun,
    (select count(*) from channel_policies p where p.shop_id = v.shop_id and p.ended_id = v.id) as ended,
    u.id is null
        and not exists (select from channel_policies p where p.shop_id = v.shop_id and p.begun_id = v.id
            and p.ended_id is not null)
        and not exists (select from channel_policies p join channel_policies n on n.shop_id = p.shop_id
            and n.begun_id > v.id and n.connection_id is not distinct from p.connection_id
            and n.category is not distinct from p.category and n.sku_id is not distinct from p.sku_id
            where p.shop_id = v.shop_id and p.ended_id = v.id) as can_undo
from policy_versions v
left join policy_versions u on u.shop_id = v.shop_id and u.undoes_id = v.id;
