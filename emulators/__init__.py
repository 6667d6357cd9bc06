"""Local stand-ins for the vendors: each speaks its vendor's HTTP API to the vendor's own SDK.

Nothing here is imported by `chatapp`, and nothing here imports it: the two meet over HTTP alone.
"""
