"""Where SQLAlchemy users meet Rowcall."""

from __future__ import annotations

from rowcall.sqlalchemy.rules import rows

__all__ = ["rows"]
