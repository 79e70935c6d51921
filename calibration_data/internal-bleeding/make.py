"""Makes bleeding.csv again from the wheel of `aeon` 1.6.0.

    pip download --no-deps aeon==1.6.0 && unzip aeon-1.6.0-py3-none-any.whl
    python make.py aeon/datasets/data/KDD-TSAD_135

The training file stands first, the test file after it, as the manifest's split says.
"""

import csv
import sys
from pathlib import Path

PARTS = ("TRAIN", "TEST")


def main() -> None:
    """Writes bleeding.csv beside this file."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python make.py FOLDER_OF_KDD-TSAD_135")
    with Path(__file__).with_name("bleeding.csv").open("w", newline="", encoding="ascii") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["recording", "t", "value", "state"])
        for part in PARTS:
            path = Path(sys.argv[1]) / f"135_UCR_Anomaly_InternalBleeding16_{part}.csv"
            with path.open(newline="", encoding="ascii") as rows:
                for row in csv.DictReader(rows):
                    state = "anomaly" if row["is_anomaly"] == "1" else "normal"
                    writer.writerow([part.lower(), row["timestamp"], row["value"], state])


if __name__ == "__main__":
    main()
