"""The virtual laboratory: emulated instruments before simulated light."""

import scqc.core  # noqa: F401  (runs the guard against a shadowed package)
