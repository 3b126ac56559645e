"""Imported as `vdit.ops` only: a second import under the short name would be a second package."""

if __name__ != "vdit.ops":
    raise ImportError(f"expected `import vdit.ops`, got `import {__name__}`; use the full name")
