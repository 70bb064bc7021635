"""Nearest neighbours among rows of length one."""
