"""The pages, one module per route."""
