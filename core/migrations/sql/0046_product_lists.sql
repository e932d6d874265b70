-- Lists of products by one of these, in order of title; and which vendors and types there are, without reading them all.
create index ix_products_shop_id_status on products (shop_id, status, title, id);
create index ix_products_shop_id_vendor on products (shop_id, vendor, title, id) where vendor is not null;
create index ix_products_shop_id_product_type on products (shop_id, product_type, title, id)
    where product_type is not null;
