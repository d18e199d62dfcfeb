"""Which places the published real fakes stand at, so that an evaluation on them is recognised and recorded.

The FB and FM rows of both label tables of UCI data set 520 (CC BY 4.0, https://doi.org/10.24432/C5JC89): slice, x
and y. A place is told by these three alone, so that a renamed folder or a row moved to the other table hides nothing.
"""

from __future__ import annotations

from verict.datasets.uci import UciCollection

_PLACES = """
20,319,333 23,116,358 24,310,344 28,110,331 29,190,313 33,212,320 38,386,276 40,383,302 41,370,283 45,156,135
47,125,317 47,296,276 48,373,233 51,119,315 51,357,371 52,179,370 52,336,284 52,413,287 54,188,218 56,322,327
56,401,144 57,185,316 58,399,188 63,145,248 63,156,260 64,240,290 64,333,370 65,365,395 67,402,299 69,346,109
70,85,197 70,135,291 71,413,336 72,299,364 73,118,196 73,356,276 74,392,395 74,406,279 76,141,283 76,354,288
79,163,191 79,232,189 80,147,307 80,424,238 81,418,184 82,116,272 82,202,198 83,113,292 89,128,336 89,346,207
91,410,329 92,133,281 92,180,239 92,329,329 94,338,243 95,336,385 96,378,193 98,158,281 100,323,381 104,157,317
108,140,282 108,381,269 111,336,367 111,406,248 114,174,298 116,146,307 119,103,269 121,186,290 123,169,207
123,358,374 124,167,361 128,162,309 128,340,276 129,315,265 129,391,336 130,229,348 131,145,314 138,369,226
139,394,224 146,414,181 150,381,229 150,418,350 163,230,322 165,190,397 166,392,334 171,122,348 182,186,329
186,142,291 188,169,215 188,183,267 188,402,294 198,202,329 201,316,362 207,352,192 208,42,269 220,137,331
267,308,334 272,163,298 289,112,307 295,163,312 298,150,99 299,59,290 304,145,400 319,125,323 323,379,214
331,119,245 338,200,191 359,190,240 372,337,300 376,120,287 379,95,358 494,195,348 504,185,338
"""
PUBLISHED_FAKES = frozenset(
    (int(number), int(x), int(y)) for number, x, y in (place.split(",") for place in _PLACES.split())
)
"""(slice, x, y) of each of the 113 published removals and injections."""


def count_published_fakes(collection: UciCollection) -> int:
    """How many labelled places of a collection are published real fakes whose slice is on disk."""
    return sum(
        row.type.is_tampered and (row.slice, row.x, row.y) in PUBLISHED_FAKES and collection.file_of(row) is not None
        for row in collection.rows
    )
