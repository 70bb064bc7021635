"""The estimated share of wrong labels."""
