-- What is wrong with a file's rows, by column and sentence without its particulars: counted while it is read, since a
-- file of many thousand problems is looked at again and again.
create table import_problem_groups (
    shop_id bigint not null,
    import_id bigint not null,
    key text not null,
    severity text not null,
    column_name text not null,
    sentence text not null,
    fix text not null,
    times integer not null,
    first_row bigint not null,
    constraint pk_import_problem_groups primary key (shop_id, import_id, key),
    constraint fk_import_problem_groups_import_runs_shop_id_import_id foreign key (shop_id, import_id)
        references import_runs (shop_id, id)
);
comment on column import_problem_groups.key is 'what those of one group have in common, as a hash';
comment on column import_problem_groups.sentence is 'that of the first row';

alter table import_runs add column effect jsonb;
comment on column import_runs.effect is 'what applying the rest would do besides, as it was when it was read or stopped';

create index ix_import_items_warnings on import_items (shop_id, import_id, position) where has_warnings;
create index ix_import_items_refused on import_items (shop_id, import_id, position) where fate <> 'done';
create index ix_import_items_kept on import_items (shop_id, import_id, position) where undo_fate <> 'done';
