"""Decisions of reviewers: an append-only log, its replay and the corrected labels."""
