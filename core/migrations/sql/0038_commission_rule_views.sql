-- The living rules with the names they go by. `place`: of its kind, in the order in which fees are taken.
create view commission_rule_list with (security_invoker = true) as
select
    r.shop_id, r.id, r.kind, r.base, r.seller_id, r.payee_id, r.connection_id, r.category, r.sku_id, r.form, r.rate_ppm,
    r.fixed_minor, r.currency, r.tier_from_minor, r.tier_ppm, r.borne_by, r.on_refund, r.tax_basis, r.tax_to,
    r.valid_from, r.valid_to, c.name as connection, k.code, s.name as seller, y.name as payee,
    array_position(array['platform_fee', 'creator_commission', 'referrer_fee', 'channel_fee'], r.kind) as place,
    (case when r.sku_id is not null then 16 else 0 end + case when r.payee_id is not null then 8 else 0 end
        + case when r.category is not null then 4 else 0 end + case when r.seller_id is not null then 2 else 0 end
        + case when r.connection_id is not null then 1 else 0 end) as breadth,
    v.id as version_id, v.saved_by, v.reason, v.saved_at
from commission_rules r
join commission_versions v on v.shop_id = r.shop_id and v.id = r.begun_id
left join connections c on c.shop_id = r.shop_id and c.id = r.connection_id
left join skus k on k.shop_id = r.shop_id and k.id = r.sku_id
left join parties s on s.shop_id = r.shop_id and s.id = r.seller_id
left join parties y on y.shop_id = r.shop_id and y.id = r.payee_id
where r.ended_id is null;

create view commission_assignment_list with (security_invoker = true) as
select
    a.shop_id, a.id, a.role, a.party_id, a.connection_id, a.category, a.sku_id, a.customer_ref, a.order_code,
    a.valid_from, a.valid_to, c.name as connection, k.code, k.title, p.code as party_code, p.name as party,
    p.kind as party_kind, p.ended_at as party_ended_at, v.id as version_id, v.saved_by, v.reason, v.saved_at
from party_assignments a
join commission_versions v on v.shop_id = a.shop_id and v.id = a.begun_id
join parties p on p.shop_id = a.shop_id and p.id = a.party_id
left join connections c on c.shop_id = a.shop_id and c.id = a.connection_id
left join skus k on k.shop_id = a.shop_id and k.id = a.sku_id
where a.ended_id is null;

-- `lines`: of the last 90 days that concern it, as they were booked.
create view commission_party_list with (security_invoker = true) as
select
    p.shop_id, p.id, p.kind, p.code, p.name, p.return_window_days, p.created_at, p.ended_at,
    coalesce(d.lines, 0)::int8 as lines,
    (select count(*) from party_assignments a where a.shop_id = p.shop_id and a.party_id = p.id and a.ended_id is null)
        as assignments,
    (select count(*) from commission_rules r where r.shop_id = p.shop_id and p.id in (r.seller_id, r.payee_id)
        and r.ended_id is null) as rules
from parties p
left join (
    select d.shop_id, n.party_id, sum(d.accruals) as lines
    from commission_days d cross join lateral (values (d.seller_id), (d.creator_id), (d.referrer_id)) as n (party_id)
    where d.base = 'item' and d.cause in ('sale', 'mapping') and d.day >= current_date - 90
    group by 1, 2
) d on d.shop_id = p.shop_id and d.party_id = p.id;

-- Every version. `can_undo`: nobody undid it, and of what it began nothing was ended since.
create view commission_version_list with (security_invoker = true) as
select
    v.shop_id, v.id as version_id, v.saved_by, v.reason, v.saved_at, v.undoes_id, u.id as undone_by_id,
    (select count(*) from commission_rules r where r.shop_id = v.shop_id and r.begun_id = v.id) as rules_begun,
    (select count(*) from commission_rules r where r.shop_id = v.shop_id and r.ended_id = v.id) as rules_ended,
    (select count(*) from party_assignments a where a.shop_id = v.shop_id and a.begun_id = v.id) as assignments_begun,
    (select count(*) from party_assignments a where a.shop_id = v.shop_id and a.ended_id = v.id) as assignments_ended,
    u.id is null
        and not exists (select from commission_rules r where r.shop_id = v.shop_id and r.begun_id = v.id
            and r.ended_id is not null)
        and not exists (select from party_assignments a where a.shop_id = v.shop_id and a.begun_id = v.id
            and a.ended_id is not null) as can_undo
from commission_versions v
left join commission_versions u on u.shop_id = v.shop_id and u.undoes_id = v.id;
