"""Which addresses are probed, and with which cookies. Pure: no root, no kernel, same input, same plan."""
