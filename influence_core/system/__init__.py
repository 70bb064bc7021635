"""What the operating system gives: whole files, safe tables, locks, jails, times."""
