"""What channels say, held against what we know: differences found, explained, healed or asked about."""
