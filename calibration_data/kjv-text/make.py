"""Makes kjv.txt.gz again from what Debian's program `bible` prints of the package `bible-kjv-text` 4.38.

    bible -p /usr/lib/ ps1:1-ps150:6 > psalms.txt && bible -p /usr/lib/ matt1:1-rev22:21 > testament.txt
    python make.py psalms.txt testament.txt

A line of the result is a verse; verse numbers and the program's line breaks are taken out, chapter titles stay.
"""

import gzip
import re
import sys
from pathlib import Path

VERSE = re.compile(r"^\s+\d+ (.*)$")
TITLE = re.compile(r"^[1-3A-Z][A-Za-z0-9 ]* \d+$")


def verses(text: str) -> list[str]:
    """Chapter titles and verses, a line each."""
    lines: list[str] = []
    for line in text.splitlines():
        found = VERSE.match(line)
        if found:
            lines.append(found[1])
        elif TITLE.match(line):
            lines += ["", line]
        elif line.strip():
            lines[-1] += f" {line.strip()}"
    return lines


def main() -> None:
    """Writes kjv.txt.gz beside this file."""
    if len(sys.argv) < 2:
        raise SystemExit("usage: python make.py TEXT [TEXT ...]")
    lines = [line for path in sys.argv[1:] for line in verses(Path(path).read_text(encoding="ascii"))]
    text = "\n".join(lines).strip() + "\n"
    Path(__file__).with_name("kjv.txt.gz").write_bytes(gzip.compress(text.encode("ascii"), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main()
