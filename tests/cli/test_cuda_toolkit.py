"""Which CUDA Toolkits a build takes (kernels/cuda/toolkit.cmake). Those that configure the
project are in test_cuda_toolkit_slow.py."""
import subprocess

import pytest

from conftest import ROOT


@pytest.mark.parametrize("version, wanted", [
    ("11.8", "70-real;75-real;80-real;90"), ("12.4", "70-real;75-real;80-real;90"),
    ("12.8", "70-real;75-real;80-real;90;100-real;120-real"),
    ("13.0", "75-real;80-real;90;100-real;120-real")])
def test_architectures(tmp_path, version, wanted):
    """What such an nvcc knows, and 90 as PTX for those to come."""
    script = tmp_path / "s.cmake"
    script.write_text(f"include({ROOT}/kernels/cuda/toolkit.cmake)\n"
                      f"tr_choose_architectures({version} chosen)\nmessage(\"${{chosen}}\")\n")
    done = subprocess.run(["cmake", "-P", script], text=True, capture_output=True)
    assert done.returncode == 0 and done.stderr.strip() == wanted
