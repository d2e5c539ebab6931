"""Arrays of others: numpy, anything with an array interface or DLPack, and GPUs' arrays."""
import numpy as np


def on_device(array):
    return hasattr(array, "__cuda_array_interface__")


def of_torch(array):
    return type(array).__module__.partition(".")[0] == "torch"


def shape_of(array):
    return tuple(array.shape)


def _view(array):
    """As numpy, sharing the memory where that is possible."""
    if isinstance(array, np.ndarray):
        return array
    if of_torch(array):
        return array.detach().numpy()
    if hasattr(array, "__array_interface__") or hasattr(array, "__array__"):
        return np.asarray(array)
    if hasattr(array, "__dlpack__"):
        return np.from_dlpack(array)
    return np.asarray(array)


def _check_interface(interface):
    """What others still write to it, on any stream, the library waits for."""
    if interface.get("strides") is not None or interface["typestr"] != "<f4":
        raise TypeError("an array on a GPU must be float32 and C-contiguous")


class Argument:
    """An array for the library: `pointer`, and what keeps it alive."""

    def __init__(self, array, shape):
        self.shape = shape
        if on_device(array):
            interface = array.__cuda_array_interface__
            _check_interface(interface)
            self.array, self.pointer = array, interface["data"][0]
        else:
            view = _view(array)
            if view.dtype.kind not in "fiub":
                raise TypeError(f"an array of real numbers is needed, not of {view.dtype}")
            self.array = np.ascontiguousarray(view, np.float32)
            self.pointer = self.array.ctypes.data
        if shape_of(self.array) != shape:
            raise ValueError(f"an array of shape {shape} is needed, "
                             f"not of {shape_of(self.array)}")


def result(out, shape, like, native=False):
    """The array to write to, its pointer: `out`, checked, or a new one, on the GPU where
    `like` is there."""
    if out is None:
        out = (new_on_device(like, shape) if on_device(like)
               else aligned(shape) if native else np.empty(shape, np.float32))
    if on_device(out):
        argument = Argument(out, shape)
        return out, argument.pointer
    view = _view(out)
    if (view.dtype != np.float32 or view.shape != shape or not view.flags.c_contiguous
            or not view.flags.writeable):
        raise ValueError(f"out must be a writable, C-contiguous float32 array of shape {shape}")
    return out, view.ctypes.data


def new_on_device(like, shape):
    if of_torch(like):
        import torch
        return torch.empty(shape, dtype=torch.float32, device=like.device)
    import cupy
    return cupy.empty(shape, cupy.float32)


def aligned(shape):
    """Zeros that begin at a multiple of 64 bytes."""
    n = int(np.prod(shape))
    memory = np.zeros(n + 16, np.float32)
    first = -memory.ctypes.data % 64 // 4
    return memory[first:first + n].reshape(shape)
