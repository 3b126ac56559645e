"""Rows of the papers' tables, to print beside our own.

`paper_tables.json` holds one row a line: table, data set (our names), method, values in percent or,
of errors, in metres, and a note where a row contradicts itself or its metric is not defined.

References: "TED" is Emerging Tracking from Video Diffusion; "Structure of the dynamic world" is
Video diffusion models learn the structure of the dynamic world; "From Image to Video" is From image
to video: an empirical study of diffusion representations.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLES_FILE = Path(__file__).with_name("paper_tables.json")


@dataclass(frozen=True)
class PaperRow:
    """What a paper reports of one method on one data set.

    Attributes:
        table: paper and table.
        dataset: our name of the data set.
        method: as the paper calls it.
        values: metric -> value; percent, metres, seconds, gigabytes or ratios.
        note: what is odd about the row.
    """

    table: str
    dataset: str
    method: str
    values: dict[str, float]
    note: str = ""


@cache
def paper_rows() -> tuple[PaperRow, ...]:
    """Give all rows, in the order of the tables."""
    return tuple(PaperRow(**row) for row in json.loads(TABLES_FILE.read_text()))


def find_paper_row(table: str, dataset: str, method: str) -> PaperRow | None:
    """Look a row up; None if `table` is "" or the table has no such data set.

    Raises:
        ValueError: there is no such table, or the table has no such method.
    """
    if not table:
        return None
    of_table = [row for row in paper_rows() if row.table == table]
    if not of_table:
        known = dict.fromkeys(row.table for row in paper_rows())
        raise ValueError(f"expected a table among {'; '.join(known)}; got {table!r}")
    methods = dict.fromkeys(row.method for row in of_table)
    if method not in methods:
        raise ValueError(f"expected a method of {table} among {', '.join(methods)}; got {method!r}")
    found = (row for row in of_table if (row.dataset, row.method) == (dataset, method))
    return next(found, None)
