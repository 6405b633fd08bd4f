"""What Alice and Bob do with numbers; no instruments, no capture files."""

import scqc.core  # noqa: F401  (runs the guard against a shadowed package)
