"""Settings of the instrument layer; field names are the TOML keys."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from driver.hal import Identity
from driver.links import check_resource
from driver.optical_switch.commands import SwitchCommands
from driver.registry import DRIVERS, Role, nearest, role_problem
from driver.set_points import SetPoints
from scqc.core.errors import ConnectError
from scqc.core.settings import Settings

SignalName = Annotated[str, StringConstraints(pattern=r"^[a-z]+(\.[a-z0-9_]+)+$")]
PortName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]*:[a-z]*[1-9][0-9]?$")
]
WiringSettings = dict[SignalName, PortName]
"""Which port of which instrument carries a signal: ``"tx.i" = "awg:1"``."""

SafeAction = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]*\.(stop|off|max|safe)$")
]


class ExpectSettings(Settings):
    """Who must answer; fields left out are not checked."""

    vendor: str | None = None
    model: str | None = None
    serial: str | None = None

    def check(self, name: str, found: Identity) -> None:
        """Refuse an instrument that is not the expected one.

        Raises
        ------
        ConnectError
            Naming what differs.
        """
        for field in ("vendor", "model", "serial"):
            wanted, got = getattr(self, field), getattr(found, field)
            if wanted is not None and wanted != got:
                reason = f"{field} is {got!r}, expected {wanted!r}"
                raise ConnectError(name, "*IDN?", reason)


class InstrumentSettings(Settings):
    """One instrument: what it is for, its driver and where it listens.

    One that plays two roles in one box names both.
    """

    role: Role | Annotated[tuple[Role, ...], Field(min_length=1)]
    driver: str
    resource: str
    expect: ExpectSettings = ExpectSettings()
    open_timeout_s: float = Field(default=5.0, gt=0.0, le=120.0)
    io_timeout_s: float = Field(default=10.0, gt=0.0, le=600.0)
    # Whether it takes one client at a time; left out, as its resource has it.
    one_client: bool | None = None
    set_points: SetPoints = SetPoints()
    commands: SwitchCommands | None = None

    @field_validator("role", mode="before")
    @classmethod
    def _is_role(cls, value: object) -> object:
        # Before it is parsed: one or several are two ways to be wrong, told as one.
        problem = role_problem(value)
        if problem is not None:
            raise ValueError(problem)
        return value

    @field_validator("driver")
    @classmethod
    def _known(cls, value: str, info: ValidationInfo) -> str:
        if value not in DRIVERS:
            roles: Any = info.data.get("role", ())
            roles = (roles,) if isinstance(roles, str) else roles
            raise ValueError(f"unknown driver {value!r}, {nearest(value, roles)}")
        return value

    @field_validator("resource")
    @classmethod
    def _well_formed(cls, value: str, info: ValidationInfo) -> str:
        # How an address is written hangs on the driver; an unknown one is told of.
        driver = info.data.get("driver")
        if isinstance(driver, str) and driver in DRIVERS:
            check_resource(DRIVERS[driver].link, "resource", value)
        return value

    @model_validator(mode="after")
    def _driver_fits_role(self) -> InstrumentSettings:
        played = DRIVERS[self.driver].roles
        for role in self.roles:
            if role not in played:
                known = " or ".join(repr(role) for role in played)
                raise ValueError(
                    f"driver {self.driver!r} is for role {known}, not {role!r}"
                )
        if self.commands is not None and not DRIVERS[self.driver].takes_commands:
            raise ValueError(f"driver {self.driver!r} has commands of its own")
        problem = self.set_points.problem(self.roles)
        if problem is not None:
            raise ValueError(problem)
        return self

    @property
    def roles(self) -> tuple[Role, ...]:
        """What it plays on this bench."""
        return (self.role,) if isinstance(self.role, str) else self.role


class SafetySettings(Settings):
    """What must hold on this bench, and the order of making it safe.

    Every instrument is put in its safe state on every exit; those named in
    `on_exit` come first, in that order. The drivers refuse whatever may launch more
    than `max_launch_dbm`.
    """

    max_launch_dbm: float = 0.0
    # Known loss between laser and fibre, modulators open, without the attenuator.
    insertion_db: float = Field(default=0.0, ge=0.0, le=100.0)
    on_exit: tuple[SafeAction, ...] = ()
