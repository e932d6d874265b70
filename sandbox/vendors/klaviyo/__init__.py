"""The fake Klaviyo: the catalogue API with its bulk jobs, profiles and events, as its specification says."""
