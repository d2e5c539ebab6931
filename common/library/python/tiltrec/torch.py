"""A tiltrec.Operator in PyTorch's graph of derivatives."""
import torch

from ._operator import Adjoint, Operator


class _Apply(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, operator):
        ctx.operator = operator
        x = x.detach().to(torch.float32).contiguous()
        y = operator(x if x.is_cuda else x.numpy())
        return y if isinstance(y, torch.Tensor) else torch.from_numpy(y)

    @staticmethod
    def backward(ctx, gradient):
        return _Apply.apply(gradient, ctx.operator.T), None


def apply(operator, x):
    """operator @ x (an Operator or its .T), whose gradient is operator.T @ g: exactly the
    transpose, so that derivatives are those of the function computed.

    x is a float32 tensor of operator.volume_shape (for .T of projections_shape), on the CPU, or
    on the GPU of an operator with backend="cuda"; dimensions before these are a batch, whose
    members follow one another. Errors as for Operator."""
    if not isinstance(operator, (Operator, Adjoint)):
        raise TypeError("the first argument must be a tiltrec.Operator or its .T")
    shape = (operator.projections_shape if isinstance(operator, Adjoint)
             else operator.volume_shape)
    if tuple(x.shape[-3:]) != shape:
        raise ValueError(f"a tensor of shape {shape} is needed, not of {tuple(x.shape)}")
    if x.dim() == 3:
        return _Apply.apply(x, operator)
    members = [_Apply.apply(one, operator) for one in x.reshape(-1, *shape)]
    return torch.stack(members).reshape(*x.shape[:-3], *members[0].shape)
