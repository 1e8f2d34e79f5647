"""Recordings: what was traced, kept as Parquet files that anything can read."""
