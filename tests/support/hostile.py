"""More than two hundred inputs that must be refused."""

from __future__ import annotations

from support import hostile_databases, hostile_media, hostile_projects, hostile_tables
from support.hostile_case import Case

CASES: dict[str, Case] = {
    **hostile_tables.CASES,
    **hostile_databases.CASES,
    **hostile_media.CASES,
    **hostile_projects.CASES,
}
"""By name, in the order in which data go through the room."""
