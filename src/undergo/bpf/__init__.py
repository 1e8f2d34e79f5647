"""The kernel side: C sources and the compiled object."""
