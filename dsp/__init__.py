"""Pure signal processing: arrays and parameters in, arrays and diagnostics out."""

import scqc.core  # noqa: F401  (runs the guard against a shadowed package)
