"""The commands, one file each, and the wiring between the packages."""
