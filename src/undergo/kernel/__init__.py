"""The only package that talks to the kernel: features, loading, attaching, rings, ledger."""
