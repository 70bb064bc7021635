"""How good and how sure: intervals, paired differences, detection quality, gaps between groups."""
