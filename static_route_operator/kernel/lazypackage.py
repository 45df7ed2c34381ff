"""Modules of a package without the rest of it.

Importing any module of pyroute2 runs the package's own ``__init__``, which imports all of it: 8 MiB on every node, for
one class of sockets.
"""

import importlib
import importlib.util
import sys
from typing import Any


def import_lazily(name: str) -> None:
    """Put off what a package's ``__init__`` does until something is asked of the package itself.

    Its modules can be imported as ever. A package that is loaded already, or is not there, is left as it is.
    """
    if name in sys.modules or (spec := importlib.util.find_spec(name)) is None or (loader := spec.loader) is None:
        return
    package = importlib.util.module_from_spec(spec)

    def load(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if importlib.util.find_spec(f"{name}.{attribute}"):
            # `from package import module` asks for an attribute first.
            return importlib.import_module(f"{name}.{attribute}")
        vars(package).pop("__getattr__", None)
        loader.exec_module(package)
        return getattr(package, attribute)

    vars(package)["__getattr__"] = load
    sys.modules[name] = package
