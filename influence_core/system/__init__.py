"""Operating-system services: atomic files, safe tables, locks, process limits, times."""
