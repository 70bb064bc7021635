"""Scores of single samples and the evidence behind them; one method per file."""
