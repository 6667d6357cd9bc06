"""Tests of the Polar emulator."""
