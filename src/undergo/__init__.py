"""undergo shows what a running Go program undergoes: calls, and where their time goes."""

__version__ = "0.1.0"
