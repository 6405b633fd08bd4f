"""Opening a sink: make or migrate its tables, look whether it is whole."""

from __future__ import annotations

from protocols.key_sink import health, migrate, schema, spending
from protocols.key_sink.database import DAMAGED, Database
from scqc.core.errors import KeySinkError

#: Entries of the journal that are checked at every opening.
_CHECKED_ENTRIES = 256


def prepare(db: Database, *, checked: bool = True) -> None:
    """Bring a file to this format, check it, and erase what a crash left to erase.

    Parameters
    ----------
    db : Database
    checked : bool
        False to open a damaged file, in order to burn it.

    Raises
    ------
    KeySinkError
        If it is damaged, or of a newer format.
    """
    with db.transaction():
        ((version,),) = db.rows("PRAGMA user_version")
        if version > schema.VERSION:
            raise KeySinkError(
                f"key sink {db.path}: format {version}, wanted {schema.VERSION}: made "
                "by a newer version of this software; use that"
            )
        if version < schema.VERSION:
            if version:
                migrate.set_aside(db, version)
            for statement in schema.statements(schema.create_script()):
                db.execute(statement)
            if version:
                migrate.take_over(db, version)
            db.execute(f"PRAGMA user_version={schema.VERSION}")
    if checked:
        _check(db)
    spending.sweep(db)


def _check(db: Database) -> None:
    ((verdict,),) = db.rows("PRAGMA quick_check(1)")
    if verdict != "ok":
        raise KeySinkError(f"key sink {db.path}: damaged: {verdict}; {DAMAGED}")
    health.verify(db, last=_CHECKED_ENTRIES)
