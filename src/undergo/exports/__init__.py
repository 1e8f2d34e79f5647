"""Recordings in the formats of other tools; each streams from the tables to a file."""
