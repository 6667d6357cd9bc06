"""Sign-in flows and server sessions."""
