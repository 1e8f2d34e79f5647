"""From the bytes of the rings to calls and states."""
