"""Comparing bodies with captured ones."""

from __future__ import annotations

from typing import Any

PERSONAL = {"email_marketing_consent", "sms_marketing_consent", "default_address"}
"""Left out of the sandbox on purpose: its buyers have no personal data beyond a country."""


def missing(sample: Any, ours: Any, path: str = "") -> list[str]:
    """Fields of the sample that ours lacks or has in another form; null on either side agrees with anything."""
    if sample is None or ours is None:
        return []
    if isinstance(sample, dict):
        if not isinstance(ours, dict):
            return [f"{path} should be an object"]
        found = [f"{path}.{name}" for name in sample if name not in ours and name not in PERSONAL]
        return found + [
            problem
            for name in sample
            if name in ours
            for problem in missing(sample[name], ours[name], f"{path}.{name}")
        ]
    if isinstance(sample, list):
        if not isinstance(ours, list):
            return [f"{path} should be a list"]
        return missing(sample[0], ours[0], f"{path}[]") if sample and ours else []
    numbers = (int, float)
    same = type(sample) is type(ours) or (isinstance(sample, numbers) and isinstance(ours, numbers))
    return [] if same else [f"{path}: {type(ours).__name__} instead of {type(sample).__name__}"]
