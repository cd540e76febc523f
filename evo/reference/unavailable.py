"""The errors of a reference that cannot be had; the message says what to write or install instead."""

from __future__ import annotations

from evo.settings import SettingsError


class ReferenceUnavailable(SettingsError):
    """campaign.toml asks for a calculator that cannot be imported, built, or used for these elements."""


class EngineAbsent(ReferenceUnavailable):
    """A program that the reference needs is not installed here."""

    exit_code = 69


class EngineBroken(RuntimeError):
    """One crystal after the other fails; the message has the last reason."""

    exit_code = 69
