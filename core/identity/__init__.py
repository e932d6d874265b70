"""Whose SKU a channel's identifiers are: what a person or a file answers, the queue of what nobody knows, remapping."""
