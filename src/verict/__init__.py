"""verict: says whether a CT scan can be trusted."""

__all__ = ["__version__"]

__version__ = "0.1.0"
