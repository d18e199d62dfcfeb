"""verict's commands on a second device that torch keeps apart from the processor, as it does a graphics card.

The device computes with the processor's own kernels, so results have to be equal to the digit. But its tensors are no
numpy arrays, and an operation on tensors of both devices fails: whatever was not moved is found without a card. torch
can be given one such device a process, so the command runs in one of its own::

    python tests/benchmarks/second_device.py bench student --data DATA --out OUT

It says on standard error how many operations ran there. Devices written in Python are an experiment of torch: 2.13 has
them, versions before 2.9 do not.
"""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from typing import Any

import torch
from torch.utils import _pytree as tree
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

NAME = "elsewhere"
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class Memory(backend_registration._DummyBackendModule):
    """What torch asks a device's module for: here also how much is held on it, each storage once."""

    def __init__(self) -> None:
        self.held = self.highest = 0
        self.users: Counter[int] = Counter()

    def take(self, tensor: Elsewhere) -> None:
        """Count what a new tensor holds until it goes."""
        place, size = tensor.kept.untyped_storage().data_ptr(), tensor.kept.untyped_storage().nbytes()
        if not self.users[place]:
            self.held += size
            self.highest = max(self.highest, self.held)
        self.users[place] += 1
        weakref.finalize(tensor, self._release, place, size)

    def _release(self, place: int, size: int) -> None:
        self.users[place] -= 1
        if not self.users[place]:
            self.held -= size

    def reset_peak_memory_stats(self) -> None:
        self.highest = self.held

    def max_memory_allocated(self) -> int:
        return self.highest

    def synchronize(self) -> None:
        pass


MEMORY = Memory()


class Elsewhere(torch.Tensor):
    """A tensor of the second device; ``kept`` is what it really is."""

    kept: torch.Tensor

    @staticmethod
    def __new__(cls, kept: torch.Tensor) -> Elsewhere:
        made = torch.Tensor._make_wrapper_subclass(
            cls, kept.size(), strides=kept.stride(), storage_offset=kept.storage_offset(), dtype=kept.dtype,
            device=torch.device(NAME, 0),
        )  # fmt: skip
        made.kept = kept
        MEMORY.take(made)
        return made

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return compute(operation, args, kwargs or {})


class SecondDevice(TorchDispatchMode):
    """Within it tensors can be made on the second device and moved there."""

    operations = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        SecondDevice.operations += any(isinstance(one, Elsewhere) for one in tree.tree_leaves(args))
        return compute(operation, args, kwargs or {})


def compute(operation: Any, args: tuple, kwargs: dict) -> Any:
    """Do it on the processor, and put what comes of it where it belongs.

    Raises
    ------
    RuntimeError
        If tensors of both devices come together; a single number may come from the processor, as with CUDA.
    """
    given = [one for one in tree.tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
    own = [one for one in given if isinstance(one, Elsewhere)]
    others = [one for one in given if not isinstance(one, Elsewhere) and one.dim() > 0]
    if own and others and operation not in COPIES:
        raise RuntimeError(f"{operation}: expected all tensors on one device, found {NAME} and {others[0].device}")
    asked = kwargs.get("device")
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    really = tree.tree_map_only(Elsewhere, lambda one: one.kept, (args, kwargs))
    made = operation(*really[0], **really[1])
    if operation is torch.ops.aten.copy_.default:
        return args[0]
    if not (own if asked is None else torch.device(asked).type == NAME):
        return made
    moved = tree.tree_map_only(torch.Tensor, Elsewhere, made)
    return return_and_correct_aliasing(operation, args, kwargs, moved) if own else moved


def main(arguments: list[str]) -> None:
    """Run a command of verict whose networks are fitted on the second device."""
    from verict.training import device

    device.choose_device = lambda _: NAME  # before the commands' modules take it from there
    from verict.cli.main import app

    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=MEMORY)
    with SecondDevice():
        try:
            app(arguments)
        finally:
            print(f"{SecondDevice.operations} operations {NAME}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
