-- From when a window counts is noted with it, like its length: what the shop decides later holds for later orders.

alter table commission_windows add column window_from text default 'shipped' not null;

update commission_windows w set window_from = m.window_from
from money_settings m where m.shop_id = w.shop_id and m.window_from <> w.window_from;

alter table commission_windows alter column window_from drop default;

alter table commission_windows
    add constraint ck_commission_windows_window_from check (window_from in ('shipped', 'placed'));

comment on column commission_windows.window_from is 'what it counts from, as the shop had it when it was noted';
