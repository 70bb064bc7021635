"""Storage of a dataset's inputs: files, packs, arrays and tables."""
