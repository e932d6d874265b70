-- What the application's login may do. It owns nothing, so it cannot switch a guard off.
grant usage on schema public to {role};
grant select, insert, update, delete on all tables in schema public to {role};
grant usage, select on all sequences in schema public to {role};
grant execute on all functions in schema public to {role};
-- Facts are added, never edited: refused here too, should a trigger ever be missing.
revoke update, delete, truncate on
    stock_movements, audit_entries, fulfilment_lines, refunds, refund_lines, customer_returns, line_returns,
    count_entries, identifier_files, daily_reports, daily_report_markets, ledger_accounts, ledger_transactions,
    ledger_entries, ledger_seals, ledger_anchors, commission_accruals, commission_terms, commission_versions,
    product_versions
from {role};
revoke update, truncate on exposure_changes, channel_acts, alert_events, discrepancy_events from {role};
revoke truncate on alerts from {role};
revoke truncate on changes, change_legs, discrepancies, documents from {role};
revoke delete, truncate on
    listing_writes, orders, order_lines, fulfilments, reservations, inbox_messages, policy_versions, channel_policies,
    stock_documents, stock_document_lines, shortages, write_stops,
    sku_identifiers, shipment_confirmations, channel_feeds, notice_channels, parties, party_assignments,
    commission_rules, chargebacks, payout_holds, adjustments, taxonomies, category_mappings, target_entries
from {role};
