"""What must hold of orders beyond what they do to stock; part of `core.invariants.CHECKS`, in the form of
core.inventory.exposure_checks."""

from __future__ import annotations

ORDER_CHECKS: tuple[tuple[str, str, str], ...] = (
    (
        "cancellation_put_back_what_had_not_left",
        "what a cancelled order is booked to have put back at its channel is what had not left of the lines that the"
        " channel puts back by itself; of an order that stands nothing is, nor need be of one that may have been"
        " cancelled before the number was taken over",
        """
        select l.shop_id, l.id as order_line_id, l.order_id, l.put_back_units, l.puts_back, l.units,
            coalesce(s.units, 0) as shipped_units
        from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        left join listings p on p.shop_id = l.shop_id and p.id = l.listing_id
        join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
        left join lateral (
            select sum(fl.units) as units from fulfilment_lines fl
            join fulfilments f on f.shop_id = fl.shop_id and f.id = fl.fulfilment_id and f.is_shipped
            where fl.shop_id = l.shop_id and fl.order_line_id = l.id
        ) s on l.puts_back
        where l.{shop} and (l.puts_back or l.put_back_units <> 0)
            and l.put_back_units <> case when o.cancelled_at is not null and l.puts_back
                then greatest(0, l.units - coalesce(s.units, 0)) else 0 end
            and not (l.put_back_units = 0 and not o.is_cancel_dated and was_cancelled_before(
                coalesce(p.opening_at, least(p.baseline_at, c.open_orders_read_at)), o.channel_created_at, o.open_at,
                o.cancelled_at, o.is_cancel_dated))
        """,
    ),
    (
        "package_is_of_its_order",
        "a package that a channel is to know holds units of lines of that very order",
        """
        select s.shop_id, s.id as confirmation_id, s.order_id, e.line_id, e.units
        from shipment_confirmations s cross join lateral unnest(s.line_ids, s.line_units) as e (line_id, units)
        left join order_lines l on l.shop_id = s.shop_id and l.id = e.line_id and l.order_id = s.order_id
        where s.{shop} and (l.id is null or e.units <= 0)
        """,
    ),
    (
        "package_is_known_refused_or_on_its_way",
        "the channel of an order knows a package as it was last asked for, or has refused it, or is told soon",
        """
        select s.shop_id, s.id as confirmation_id, s.order_id, s.revision, s.confirmed_revision, s.next_try_at
        from shipment_confirmations s join orders o on o.shop_id = s.shop_id and o.id = s.order_id
        join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
        where s.{shop} and s.refused_at is null and s.revision is distinct from s.confirmed_revision
            and s.next_try_at < %(now)s - %(patience)s and c.state = 'active' and may_write(c.shop_id, c.id)
        """,
    ),
)
