"""Session with a Spectrum card: ``spcm:///dev/spcm0``.

The maker's package ``spcm`` calls the card's kernel driver.
"""

from __future__ import annotations

import re
from typing import Any

from driver.hal import Identity
from driver.maker_package import PackageLink
from scqc.core.errors import RangeError

MODULES, INSTALL = ("spcm",), "spcm, and the card's kernel driver of the maker"
_RESOURCE = re.compile(r"spcm://([A-Za-z0-9/._:-]+)")


class SpectrumLink(PackageLink):
    """One card's session.

    Parameters
    ----------
    instrument : str
        Name of the instrument, for error messages.
    resource : str
        ``spcm:///dev/spcm0``, or ``spcm://TCPIP::192.0.2.8::inst0::INSTR``.
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
            raise RangeError(instrument, resource, "expected spcm:///dev/spcm0")
        self._place = found[1]
        self._sdk: Any = None

    @property
    def sdk(self) -> Any:
        """The maker's module, once the link is open."""
        return self._sdk

    def open(self) -> Identity:
        """Open the card and ask which it is.

        Raises
        ------
        ConnectError
            If the package, its driver or the card is not there.
        """
        self.permit("open")
        self.close()
        with self.connecting(self._place):
            # Without the kernel driver the import itself fails.
            self._sdk = self.package(MODULES, INSTALL)
            card = self._sdk.Card(self._place)
            card.open()
            self._device = card
            version = card.drv_version()
            firmware = "{major}.{minor}.{build}".format(**version)
            self._identity = Identity(
                "Spectrum Instrumentation",
                str(card.product_name()),
                str(card.sn()),
                firmware,
            )
        return self.identity

    def close(self) -> None:
        """Close the card; calling it again does nothing."""
        card, self._device = self._device, None
        if card is not None:
            card.close()

    def write(self, registers: dict[str, int]) -> None:
        """Write registers by the names that the maker gives them.

        Raises
        ------
        DeviceError
            If the card refuses one.
        """
        for name, value in registers.items():
            with self.using(f"{name} = {value}") as card:
                card.set_i(self.number(name), value)

    def read(self, name: str) -> int:
        """Read a register.

        Raises
        ------
        DeviceError
            If the card has none of that name.
        """
        with self.using(name) as card:
            return int(card.get_i(self.number(name)))

    def number(self, name: str) -> int:
        """Return the number of a register or a flag; ``SPC_AMP[3]`` is channel 3's."""
        stem, bracket, index = name.partition("[")
        if not bracket:
            return int(getattr(self._sdk, name))
        first, second = (int(getattr(self._sdk, f"{stem}{k}")) for k in (0, 1))
        return first + (second - first) * int(index.rstrip("]"))
