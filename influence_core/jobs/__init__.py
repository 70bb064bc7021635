"""Jobs: long work in child processes that can be watched, stopped and resumed."""
