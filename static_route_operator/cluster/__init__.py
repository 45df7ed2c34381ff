"""The Kubernetes API server as the agent sees it. The only package that imports kopf.

The `kubernetes` client is kept out of this process: Kopf would import it wherever it finds it, for 18 MiB a node.
"""

import sys

# None makes an import fail, so Kopf falls back on its own login, which needs no client.
sys.modules.setdefault("kubernetes", None)  # type: ignore[arg-type]
