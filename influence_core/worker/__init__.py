"""The child process of a job and its work."""
