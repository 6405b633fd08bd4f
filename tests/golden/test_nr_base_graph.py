"""Base graph 1 of 3GPP TS 38.212, checked against a second listing of it.

The product stores the table row by row. Here are the shifts of the first 26
columns listed column by column (rows ascending), typed from a different source,
so that a slip in either transcription shows.
"""

import numpy as np

from dsp.coding.fec import mother_code

BY_COLUMN = """
307 76 205 276 332 195 278 9 307 366 48 77 313 142 241 260 145 187 30 298
71 222 159 102 230 210 185 175 113 80 19 250 87 181 14 62 179 232 101 102
186 2 13 130 213 205 24 72 194 252 100 323 320 269 258 52 113 135 50 76
328 339 89 81 8 369 73 0 115 165 177 338 206 158 93 314 288 332 275 316
274 235 76 19 14 181 144 256 102 216 161 199 257 17 194 335 149 331 267 153
333 111 266 344 383 215 148 346 78 331 160 56 290 383 242 101 37 317 178 63
264 177 139 163 288 129 132 1 321 174 210 197 61 229 289 15 109 295 305 351
133 232 57 341 339 361 17 342 231 166 18 8 248 163 11 201 2 214 357 200
341 92 57 50 318 280 233 260 82 217 88 212 114 354 303 312 5 175 313 215
99 53 137 136 202 297 106 354 304 241 39 47 89 81 328 132 114 131 300 253
303 347 358 22 312 312 242 240 271 18 63 74 55 132 27 147 21 288 114 180
331 205 224 4 244 297 330 13 39 225 82 115 289 213 346 112 357 51 368 188
12 375 97 274 105 1 0 1 157 67 334 57 59 234 258 266 274 0 0 115
370 115 0 0 170 90 287 218 0 0 269 78 256 168
"""
COLUMN_DEGREES = np.diff(
    [
        *(0, 30, 58, 65, 76, 85, 89, 97, 109, 117, 124, 136, 146, 158, 169, 179, 186),
        *(196, 206, 219, 226, 234, 245, 257, 262, 268, 274),
    ]
)


def test_table_agrees_with_the_column_listing():
    code = mother_code()
    order = np.lexsort((code.edge_row, code.edge_column))
    shifts = code.edge_shift[order]
    expected = np.array(BY_COLUMN.split(), dtype=np.int32)
    np.testing.assert_array_equal(shifts[: expected.size], expected)
    assert not shifts[expected.size :].any()
    degrees = np.bincount(code.edge_column, minlength=68)
    np.testing.assert_array_equal(degrees[:26], COLUMN_DEGREES)
    np.testing.assert_array_equal(degrees[26:], 1)
    assert code.edge_row.size == 316


def test_no_cycle_of_length_four():
    code = mother_code()
    seen: dict[tuple[int, int], set[int]] = {}
    for r in range(code.n_rows):
        edges = range(code.row_start[r], code.row_start[r + 1])
        for a in edges:
            for b in edges:
                if code.edge_column[a] < code.edge_column[b]:
                    pair = (int(code.edge_column[a]), int(code.edge_column[b]))
                    gap = int(code.edge_shift[a] - code.edge_shift[b]) % code.size
                    assert gap not in seen.setdefault(pair, set())
                    seen[pair].add(gap)
