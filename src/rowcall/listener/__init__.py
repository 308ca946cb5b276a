"""The daemon that reads the log and calls handlers."""
