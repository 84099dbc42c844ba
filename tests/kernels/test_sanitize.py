"""The kernels have no findings under the compiler's sanitizers."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("sanitize.py")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("sanitizer", ["thread", "address", "undefined"])
def test_no_findings(sanitizer):
    if shutil.which("g++") is None:
        pytest.skip("g++, whose sanitizers are used, is not installed")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), sanitizer],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
