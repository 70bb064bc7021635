"""Quality and its uncertainty: intervals, paired differences, detection quality, gaps between groups."""
