"""A research chat that people pay for."""
