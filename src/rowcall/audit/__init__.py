"""Questions put to the log."""
