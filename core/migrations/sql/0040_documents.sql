-- Files that people hand in and fetch. Their bytes lie in a store outside of the database, under `key`.
create table documents (
    shop_id bigint not null,
    id bigint generated always as identity,
    kind text not null,
    key text not null,
    file_name text not null,
    content_type text not null,
    bytes_max bigint not null,
    keep_days integer not null,
    state text default 'awaiting' not null,
    bytes bigint,
    sha256 text,
    created_by text not null,
    created_at timestamptz not null,
    stored_at timestamptz,
    expires_at timestamptz not null,
    constraint pk_documents primary key (shop_id, id),
    constraint fk_documents_shop_id_shops foreign key (shop_id) references shops (shop_id),
    constraint uq_documents_shop_id_key unique (shop_id, key),
    constraint ck_documents_kind check (kind ~ '^[a-z][a-z_]{0,39}$'),
    constraint ck_documents_key check (key ~ ('^' || shop_id || '/' || kind || '/[0-9a-f]{32}$')),
    constraint ck_documents_named check (btrim(file_name) <> '' and btrim(created_by) <> ''),
    constraint ck_documents_bytes_max check (bytes_max > 0),
    constraint ck_documents_keep_days check (keep_days between 1 and 3650),
    constraint ck_documents_state check (state in ('awaiting', 'stored', 'deleted')),
    constraint ck_documents_bytes check (bytes between 0 and bytes_max),
    constraint ck_documents_sha256 check (sha256 ~ '^[0-9a-f]{64}$'),
    constraint ck_documents_stored check (
        (bytes is null) = (stored_at is null) and (sha256 is null) = (stored_at is null)
        and (state <> 'awaiting' or stored_at is null) and (state <> 'stored' or stored_at is not null))
);
comment on table documents is 'files that people hand in and fetch; their bytes lie in the store of documents';
comment on column documents.kind is 'what it is for: catalogue_import, ...';
comment on column documents.key is 'where the store has it; ours, and never what a person typed';
comment on column documents.file_name is 'what it is called where it came from; shown, and never a path';
comment on column documents.keep_days is 'how long it is kept from when it was stored';
comment on column documents.state is
    'awaiting: a link to upload it was given out; stored: its bytes are there; deleted: they are gone, this stays on record';
comment on column documents.expires_at is 'awaiting: until when it may be uploaded; stored: until when it is kept';
create index ix_documents_expiring on documents (expires_at) where state <> 'deleted';
create index ix_documents_shop_id_kind_id on documents (shop_id, kind, id);

-- What was announced and what was stored stays as it is; a document is stored once, and its end is final.
create function keep_stored_document() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        if old.state = 'awaiting' then
            return old;
        end if;
        raise exception 'document % is on record and is not removed', old.id using errcode = 'restrict_violation';
    end if;
    if (new.shop_id, new.id, new.kind, new.key, new.file_name, new.content_type, new.bytes_max, new.keep_days,
            new.created_by, new.created_at)
        is distinct from (old.shop_id, old.id, old.kind, old.key, old.file_name, old.content_type, old.bytes_max,
            old.keep_days, old.created_by, old.created_at)
    then
        raise exception 'document % stays what it was announced as', old.id using errcode = 'restrict_violation';
    end if;
    if old.state = 'deleted' or (old.state = 'stored' and new.state = 'awaiting')
        or (not (old.state = 'awaiting' and new.state = 'stored')
            and (new.bytes, new.sha256, new.stored_at) is distinct from (old.bytes, old.sha256, old.stored_at))
    then
        raise exception 'document % is %, and does not become % like that', old.id, old.state, new.state
            using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger kept_as_stored before update or delete on documents for each row execute function keep_stored_document();
create trigger never_emptied before truncate on documents for each statement execute function refuse_change();

-- The documents of a shop; one whose time is over counts as deleted, whether its bytes are gone already or not.
create view document_list with (security_invoker = true) as
select
    shop_id, id as document_id, kind, file_name, content_type, bytes, sha256,
    case when state = 'stored' and expires_at <= now() then 'deleted' else state end as state,
    created_by, created_at, stored_at, expires_at, now() as as_of
from documents;
