"""Threads, messages, and one turn from question to saved answer."""
