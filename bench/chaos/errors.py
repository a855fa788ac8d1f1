"""Errors that end a chaos run before it can judge."""

from __future__ import annotations


class ChaosError(Exception):
    """The harness, or what it stands on, does not work; this says nothing about the promises."""
