"""TiltRec: tomograms from electron tilt series.

    A = tiltrec.Operator(tilts, shape=(n_y, n_u), thickness=300)
    y = A @ x                      # projections of a volume
    x = A.T @ y                    # the exact transpose
    x = tiltrec.reconstruct(data, tilts, thickness=300, algorithm="SIRT", iterations=30)

tiltrec.torch.apply(A, x) is A @ x with a gradient. tiltrec.programs runs the programs on
files. The manual's chapter is manual/python.md.
"""
import importlib

from . import programs
from ._library import Error, load
from ._operator import Operator

__all__ = ["Error", "Operator", "programs", "reconstruct"]

_GEOMETRY = ("width", "xtilts", "transforms", "tilt_offset", "axis_shift", "pitch", "x_shift",
             "z_shift", "order", "backend", "device", "threads")


def __getattr__(name):
    if name == "__version__":
        return load("cpu").tiltrec_version().decode()
    if name == "torch":  # PyTorch is loaded by those who use it
        return importlib.import_module(".torch", __name__)
    raise AttributeError(f"module 'tiltrec' has no attribute {name!r}")


def reconstruct(data, tilts, algorithm="SIRT", *, thickness=None, initial=None, out=None,
                progress=None, **options):
    """The volume of an aligned tilt series.

    data        [view][y][u], the tilt axis along y; densities, not transmitted intensities
    tilts       degrees, one per view
    thickness   voxels; a quarter of the width unless given

    Other arguments are those of tiltrec.Operator (pitch, axis_shift, order, threads ...), of
    Operator.solve (initial, out, progress), and the algorithm's options (iterations=30).
    Returns [z][y][x] as float32, in the densities per pixel of the programs: the same as
    their --outside zero --order xyz. With a pitch it is computed in the volume's own frame,
    which the programs do in a pitched one, faster."""
    if len(data.shape) != 3:
        raise ValueError(f"data must be [view][y][u], not of shape {tuple(data.shape)}")
    geometry = {name: options.pop(name) for name in _GEOMETRY if name in options}
    if thickness is None:
        thickness = max(data.shape[2] // 8 * 2, 16)
    operator = Operator(tilts, data.shape[1:], thickness=thickness, **geometry)
    return operator.solve(data, algorithm, initial=initial, out=out, progress=progress,
                          **options)
