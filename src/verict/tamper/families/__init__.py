"""Ways to paint a forgery, by name: one file and one line each. Nothing heavy is imported until one is made."""

from __future__ import annotations

from importlib import import_module

from verict.errors import UsageError, did_you_mean
from verict.tamper.forgery import Family

_FAMILIES = {
    "ctgan": "verict.tamper.families.ctgan:CtGan",
    "diffusion": "verict.tamper.families.diffusion:DiffusionInpaint",
    "splice": "verict.tamper.families.splice:Splice",
    "splice-poisson": "verict.tamper.families.splice:PoissonSplice",
    "copy-move": "verict.tamper.families.copy_move:CopyMove",
    "inpaint": "verict.tamper.families.inpaint:ClassicalInpaint",
    "parametric": "verict.tamper.families.parametric:ParametricNodule",
}


def names() -> tuple[str, ...]:
    """Every family."""
    return tuple(_FAMILIES)


def create(name: str) -> Family:
    """Make a family by its name.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    if name not in _FAMILIES:
        raise UsageError("no such method", found=name, next_step=did_you_mean(name, _FAMILIES))
    module, _, cls = _FAMILIES[name].partition(":")
    family: Family = getattr(import_module(module), cls)()
    return family
