"""Run folders on disk: their states, seals, progress, tables and thumbnails."""
