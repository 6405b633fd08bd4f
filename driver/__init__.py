"""Hardware abstraction layer: talks to instruments, knows no protocol."""

import scqc.core  # noqa: F401  (runs the guard against a shadowed package)
