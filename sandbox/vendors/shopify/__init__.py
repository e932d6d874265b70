"""A fake Shopify: Admin GraphQL, client-credentials tokens, stock, orders and signed webhooks."""
