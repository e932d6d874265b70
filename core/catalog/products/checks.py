"""Invariants of the catalogue: what is shown and searched is what the last version says. See core.invariants."""

from __future__ import annotations

CATALOGUE_CHECKS: tuple[tuple[str, str, str], ...] = (
    (
        "product_is_its_last_version",
        "a product is there, at its last version, unless that version removed it",
        """
        select l.shop_id, l.product_id, l.version as last_version, p.version
        from (
            select distinct on (shop_id, product_id) shop_id, product_id, version, document is null as is_removed
            from product_versions where {shop} order by shop_id, product_id, version desc
        ) l
        full join (select shop_id, id, version from products where {shop}) p
            on p.shop_id = l.shop_id and p.id = l.product_id
        where p.version is distinct from case when l.is_removed then null else l.version end
        """,
    ),
    (
        "product_versions_follow_each_other",
        "the versions of a product are numbered from 1 without a gap",
        """
        select shop_id, product_id, count(*) as versions, max(version) as last_version
        from product_versions where {shop} group by 1, 2 having count(*) <> max(version) or min(version) <> 1
        """,
    ),
    (
        "product_shows_its_document",
        "title, handle, status, tags, options and pictures of a product are those of its version",
        """
        select p.shop_id, p.id as product_id, p.version from products p
        join product_versions v on v.shop_id = p.shop_id and v.product_id = p.id and v.version = p.version
        where p.{shop} and (p.handle, p.title, p.description, p.vendor, p.product_type, p.status, p.url, p.seo_title,
                p.seo_description, to_jsonb(p.tags), to_jsonb(p.options), p.images, p.metafields, p.variant_count)
            is distinct from (v.document ->> 'handle', v.document ->> 'title', v.document ->> 'description',
                v.document ->> 'vendor', v.document ->> 'product_type', v.document ->> 'status', v.document ->> 'url',
                v.document ->> 'seo_title', v.document ->> 'seo_description', v.document -> 'tags',
                v.document -> 'options', v.document -> 'images', v.document -> 'metafields',
                jsonb_array_length(v.document -> 'variants'))
        """,
    ),
    (
        "variants_show_their_document",
        "the variants of a product are those of its version, with their prices, weights and fields",
        """
        with told as (
            select p.shop_id, p.id as product_id, d.code, d.place - 1 as position, d.price_minor, d.compare_at_minor,
                d.currency, d.weight_grams, d.option_values, d.image_url, d.metafields, d.requires_shipping, d.taxable
            from products p
            join product_versions v on v.shop_id = p.shop_id and v.product_id = p.id and v.version = p.version
            cross join lateral rows from (jsonb_to_recordset(v.document -> 'variants') as (code text, price_minor int8,
                compare_at_minor int8, currency text, weight_grams int4, option_values text[], image_url text,
                metafields jsonb, requires_shipping bool, taxable bool)) with ordinality
                as d (code, price_minor, compare_at_minor, currency, weight_grams, option_values, image_url,
                    metafields, requires_shipping, taxable, place)
            where p.{shop}
        ), kept as (
            select v.*, s.code from variants v join skus s on s.shop_id = v.shop_id and s.id = v.sku_id where v.{shop}
        )
        select coalesce(t.shop_id, k.shop_id) as shop_id, coalesce(t.product_id, k.product_id) as product_id,
            coalesce(t.code, k.code) as code
        from told t
        full join kept k on k.shop_id = t.shop_id and k.product_id = t.product_id and k.code = t.code
        where (t.position, t.price_minor, t.compare_at_minor, t.currency, t.weight_grams, t.option_values, t.image_url,
                t.metafields, t.requires_shipping, t.taxable)
            is distinct from (k.position, k.price_minor, k.compare_at_minor, k.currency, k.weight_grams,
                k.option_values, k.image_url, k.metafields, k.requires_shipping, k.taxable)
        """,
    ),
    (
        "category_path_is_its_names",
        "the path of a category is that of the one above it and its name",
        """
        select c.shop_id, c.id as category_id, c.path from categories c
        left join categories a on a.shop_id = c.shop_id and a.id = c.parent_id
        where c.{shop} and (c.path, c.depth) is distinct from
            (coalesce(a.path || ' > ', '') || c.name, coalesce(a.depth, 0) + 1)
        """,
    ),
)
