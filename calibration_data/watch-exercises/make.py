"""Makes watch.parquet again from the wheel of `seglearn` 1.2.5 (needs numpy and pyarrow).

    pip download --no-deps seglearn==1.2.5 && unzip seglearn-1.2.5-py3-none-any.whl && python make.py seglearn/data

The package keeps a pickle, which can run code when it is opened: run this in a place where that does not matter.
Values are rounded to a thousandth (of g, of rad/s) and kept as int16: a consumer sensor's noise is larger than that.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

RATE_HZ = 50
CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")
NAMES = ("recording", "subject", "activity", "side")


def main() -> None:
    """Writes watch.parquet beside this file."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python make.py FOLDER_OF_watch_dataset.npy")
    packed = np.load(Path(sys.argv[1]) / "watch_dataset.npy", allow_pickle=True).item()
    columns: dict[str, list] = {name: [] for name in (*NAMES, "t", *CHANNELS)}
    activities = [name.lower() for name in packed["y_labels"]]
    described = zip(packed["X"], packed["y"], packed["subject"], packed["side"], strict=True)
    for number, (rows, activity, subject, side) in enumerate(described):
        length = len(rows)
        columns["recording"] += [f"r{number:03d}"] * length
        columns["subject"] += [f"s{int(subject):02d}"] * length
        columns["activity"] += [activities[int(activity)]] * length
        columns["side"] += ["right" if side else "left"] * length
        columns["t"] += [1000 // RATE_HZ * row for row in range(length)]
        for channel, name in enumerate(CHANNELS):
            columns[name] += np.round(rows[:, channel] * 1000).astype(int).tolist()
    types = {name: pa.string() for name in NAMES} | {"t": pa.int32()} | {name: pa.int16() for name in CHANNELS}
    table = pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})
    pq.write_table(
        table,
        Path(__file__).with_name("watch.parquet"),
        compression="zstd",
        compression_level=22,
        use_dictionary=list(NAMES),
        column_encoding=dict.fromkeys(("t", *CHANNELS), "DELTA_BINARY_PACKED"),
    )


if __name__ == "__main__":
    main()
