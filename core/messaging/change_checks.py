"""What has to hold of changes and their legs: part of `core.invariants`, with its parameters."""

from __future__ import annotations

CHANGE_CHECKS: tuple[tuple[str, str, str], ...] = (
    (
        "change_is_done_when_its_legs_are",
        "a change is done exactly when none of its legs is open, and every leg is of a change and of a connection",
        """
        select coalesce(c.shop_id, g.shop_id) as shop_id, coalesce(c.id, g.change_id) as change_id, c.done_at,
            g.open_legs, g.latest_end_at
        from (select * from changes where {shop}) c
        full join (
            select x.shop_id, x.change_id, count(*) filter (where x.ended_at is null) as open_legs,
                max(x.ended_at) as latest_end_at, bool_or(n.id is null) as is_nowhere
            from change_legs x left join connections n on n.shop_id = x.shop_id and n.id = x.connection_id
            where x.{shop} group by 1, 2
        ) g on g.shop_id = c.shop_id and g.change_id = c.id
        where c.id is null or g.is_nowhere or (c.done_at is null) <> (coalesce(g.open_legs, 0) > 0)
        """,
    ),
    (
        "leg_was_confirmed_by_the_channel",
        "a leg is confirmed by a write of its connection and pool that was planned after the change and confirmed, or"
        " by what the channel was seen to show since",
        """
        select g.shop_id, g.change_id, g.connection_id, g.sku_id, g.location_id, g.after_write_id, g.write_id,
            g.seen_at, w.outcome
        from change_legs g
        left join listing_writes w on w.shop_id = g.shop_id and w.id = g.write_id
        where g.{shop} and g.state = 'confirmed' and (
            (g.write_id is not null and (w.id is null or w.outcome <> 'confirmed' or w.id <= g.after_write_id
                or w.connection_id <> g.connection_id))
            or (g.write_id is null and not exists (
                select from listings l where l.shop_id = g.shop_id and l.connection_id = g.connection_id
                    and l.published_at >= g.seen_at)))
        """,
    ),
    (
        "leg_was_taken_back",
        "a leg that a later change made needless names one of the same cause",
        """
        select g.shop_id, g.change_id, g.connection_id, g.sku_id, g.compensated_by from change_legs g
        join changes c on c.shop_id = g.shop_id and c.id = g.change_id
        left join changes b on b.shop_id = g.shop_id and b.id = g.compensated_by
        left join stock_documents d on d.shop_id = b.shop_id and d.id = b.document_id
        where g.{shop} and g.reason = 'undone'
            and (g.compensated_by is null or b.id <= c.id
                -- The later one may be forgotten before one that still waits for another channel.
                or b.id is not null and coalesce(b.order_id, d.undoes_id) is distinct from
                    coalesce(c.order_id, c.document_id))
        """,
    ),
)
