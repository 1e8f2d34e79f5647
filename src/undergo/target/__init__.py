"""What to trace: processes, executables and commands."""
