-- Whether a channel shows something else than it should, in one place for indexes, plans, views and checks.
-- `target` is what we want, which may be negative when more is promised than there is. A shopper sees no difference
-- between zero and less, and nobody can write a negative number: a channel that sold below zero while we are short is
-- left alone. rules.differs is the same in Python; a test holds the two together.
create function listing_differs(target integer, published integer) returns boolean language sql immutable as $$
    select published is null or (published <> greatest(target, 0) and not (published < 0 and target < 0))
$$;
