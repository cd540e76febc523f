"""The error of a reference that cannot be had; its message says what to write instead."""

from __future__ import annotations

from evo.settings import SettingsError


class ReferenceUnavailable(SettingsError):
    """campaign.toml asks for a calculator that cannot be imported, built, or used for these elements."""
