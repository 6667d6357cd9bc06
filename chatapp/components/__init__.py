"""Views that pages share, and the few browser components beside their Python."""
