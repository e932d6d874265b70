"""The screens: one file, one question each."""
