"""Kernels: every compiled loop, replaceable by torch operations."""
