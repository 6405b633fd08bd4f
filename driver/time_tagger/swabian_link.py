"""Session with a Swabian Time Tagger: ``swabian://SERIAL``.

The maker's package ``Swabian-TimeTagger`` speaks to the box over USB.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from driver.hal import Identity
from driver.maker_package import PackageLink
from scqc.core.errors import RangeError

MODULES, INSTALL = ("Swabian.TimeTagger", "TimeTagger"), "Swabian-TimeTagger"
_RESOURCE = re.compile(r"swabian://([A-Za-z0-9.:-]*)")


class SwabianLink(PackageLink):
    """One tagger's session.

    Parameters
    ----------
    instrument : str
        Name of the instrument, for error messages.
    resource : str
        ``swabian://SERIAL``; without a serial number, the first tagger found.
    open_timeout_s, io_timeout_s : float
        Deadlines [s]; the package has its own for opening.
    """

    def __init__(
        self,
        instrument: str,
        resource: str,
        open_timeout_s: float = 5.0,
        io_timeout_s: float = 10.0,
    ) -> None:
        super().__init__(instrument, io_timeout_s)
        found = _RESOURCE.fullmatch(resource)
        if found is None:
            raise RangeError(instrument, resource, "expected swabian://SERIAL")
        self._serial = found[1]
        self._sdk: Any = None

    @property
    def sdk(self) -> Any:
        """The maker's module, once the link is open."""
        return self._sdk

    def open(self) -> Identity:
        """Connect and ask who is there.

        Raises
        ------
        ConnectError
            If the package or the tagger is not there.
        """
        self.permit("open")
        self.close()
        self._sdk = self.package(MODULES, INSTALL)
        with self.connecting(f"swabian://{self._serial}"):
            device = self._sdk.createTimeTagger(self._serial)
            self._device = device
            firmware = str(device.getFirmwareVersion())
            self._identity = Identity(
                "Swabian Instruments",
                str(device.getModel()),
                str(device.getSerial()),
                firmware,
            )
        return self.identity

    def close(self) -> None:
        """Give the tagger back; calling it again does nothing."""
        device, self._device = self._device, None
        if device is not None:
            # A tagger that was unplugged cannot be given back.
            with suppress(RuntimeError):
                self._sdk.freeTimeTagger(device)
