"""A chaos run: the real app under load, killed again and again; then its books are held against the vendors' logs.

Meanwhile vendors fail, the disk is full, and the database is locked by somebody else. See docs/chaos.md.
"""
