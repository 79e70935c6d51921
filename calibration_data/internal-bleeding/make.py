"""Makes bleeding.csv again from the wheel of `aeon` 1.6.0.

    pip download --no-deps aeon==1.6.0 && unzip aeon-1.6.0-py3-none-any.whl
    python make.py aeon/datasets/data/KDD-TSAD_135

The training file stands first, the test file after it, as the manifest's split says. The test file begins with the
training file's values once more; they are left out, since nothing may judge a model that it was learnt from.
"""

import csv
import sys
from pathlib import Path


def read(folder: Path, part: str) -> list[dict[str, str]]:
    """The rows of one of the archive's files."""
    path = folder / f"135_UCR_Anomaly_InternalBleeding16_{part}.csv"
    with path.open(newline="", encoding="ascii") as stream:
        return list(csv.DictReader(stream))


def main() -> None:
    """Writes bleeding.csv beside this file."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python make.py FOLDER_OF_KDD-TSAD_135")
    train, test = (read(Path(sys.argv[1]), part) for part in ("TRAIN", "TEST"))
    if [row["value"] for row in test[: len(train)]] != [row["value"] for row in train]:
        raise SystemExit("the test file does not begin with the training file's values: another edition?")
    with Path(__file__).with_name("bleeding.csv").open("w", newline="", encoding="ascii") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["recording", "t", "value", "state"])
        for part, rows in (("train", train), ("test", test[len(train) :])):
            for row in rows:
                state = "anomaly" if row["is_anomaly"] == "1" else "normal"
                writer.writerow([part, row["timestamp"], row["value"], state])


if __name__ == "__main__":
    main()
