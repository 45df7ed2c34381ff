"""Access to the Kubernetes API server. The only package that imports Kopf."""

import sys

# Kopf imports each Kubernetes client that is installed, to recognise objects of its classes, which this program never
# hands to Kopf. The image has `kubernetes` for the controller; that import would cost an agent 17 MiB on every node.
# None in sys.modules makes an import fail as if the package were not installed. The entries are removed afterwards, so
# that the controller can import `kubernetes` itself.
_CLIENTS = [name for name in ("kubernetes", "kubernetes_asyncio", "pykube") if name not in sys.modules]
for _name in _CLIENTS:
    sys.modules[_name] = None  # type: ignore[assignment]  # as the documentation of `import` describes
try:
    import kopf  # noqa: F401  here before any module of this package imports it
finally:
    for _name in _CLIENTS:
        del sys.modules[_name]
