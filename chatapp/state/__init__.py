"""Reflex State classes: thin event handlers."""
