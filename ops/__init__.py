"""Imported as `vdit.ops` only: a second import under the short name would be a second package."""

if __name__ != "vdit.ops":
    raise ImportError(f"expected `import vdit.ops`, got `import {__name__}`; use the full name")

from vdit.ops.extension import extension_status

# The function takes the name over from its module, which stays importable as `from ... import`.
from vdit.ops.ms_deform_attn import ms_deform_attn

__all__ = ["extension_status", "ms_deform_attn"]
