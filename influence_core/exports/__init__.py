"""Exports of decisions and corrected datasets for other tools."""
