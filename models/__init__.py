"""Imported as `vdit.models` only; under the short name it would be a second package."""

if __name__ != "vdit.models":
    raise ImportError(f"expected `import vdit.models`, got `import {__name__}`; use the full name")
