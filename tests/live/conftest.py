"""Live tests need root on a kernel with eBPF; elsewhere they say why they do not run."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def _kernel() -> None:
    if os.geteuid() != 0:
        pytest.skip("live tests load eBPF programs, which takes root")
    from undergo.kernel import features

    if not (features.may_load() and features.has_btf()):
        pytest.skip("this kernel lets no eBPF program be loaded, or has no BTF; see `undergo doctor`")
