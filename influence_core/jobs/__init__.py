"""Long work as child processes: started, watched, stopped, resumed."""
