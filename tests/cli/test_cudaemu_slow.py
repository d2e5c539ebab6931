"""The rest of the comparisons with the programs for CPUs: see test_cudaemu.py."""
from cuda_programs import (  # noqa: F401: collected here
    series, test_admm_is_that_of_the_cpu, test_coupled_rays_by_textures,
    test_the_tensor_kernel_is_as_exact_as_tiles, test_the_texture_kernel_has_8_bits,
    test_views_fit_as_on_the_cpu, test_volumes_are_those_of_the_cpu)
from emulated import cuda, cudaz  # noqa: F401: fixtures
