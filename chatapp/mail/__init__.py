"""Templates, and the mails that events cause."""
