"""Import of single modules of a package without the rest of it.

Importing any module of pyroute2 runs the package's own ``__init__``, which imports all of it: 8 MiB on every node, for
a class of sockets and a few classes of messages.
"""

import importlib
import importlib.util
import sys
from typing import Any


def import_lazily(name: str) -> None:
    """Put off a package's ``__init__`` until an attribute of the package itself is read.

    The modules of the package can be imported as usual. A package that is loaded already, or is not installed, is left
    as it is.
    """
    if name in sys.modules or (spec := importlib.util.find_spec(name)) is None or (loader := spec.loader) is None:
        return
    package = importlib.util.module_from_spec(spec)

    def load(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if importlib.util.find_spec(f"{name}.{attribute}"):
            # `from package import module` reads the module as an attribute first.
            return importlib.import_module(f"{name}.{attribute}")
        vars(package).pop("__getattr__", None)
        loader.exec_module(package)
        return getattr(package, attribute)

    vars(package)["__getattr__"] = load
    sys.modules[name] = package
