"""Makes nhefs.csv again from the source archive of `causaldata` 0.1.5 (needs pandas).

    pip download --no-deps --no-binary :all: causaldata==0.1.5 && tar xzf causaldata-0.1.5.tar.gz
    python make.py causaldata-0.1.5/causaldata/nhefs

Columns with what was known in 1971 and 1982 are kept; codes are spelled out; what the codebook calls missing is empty.
"""

import sys
from pathlib import Path

import pandas as pd

NUMBERS = {
    "age": "age",
    "smokeintensity": "cigarettes_per_day",
    "smokeyrs": "years_of_smoking",
    "wt71": "weight_kg",
    "ht": "height_cm",
    "sbp": "systolic_mmhg",
    "dbp": "diastolic_mmhg",
    "cholesterol": "cholesterol_mg_dl",
    "school": "years_of_school",
    "income": "income_code",
    "alcoholhowmuch": "drinks",
}
FLAGS = {
    "qsmk": "quit_smoking",
    "asthma": "asthma",
    "bronch": "bronchitis",
    "tumor": "tumor",
    "weakheart": "weak_heart",
}
UNKNOWN_TWO = {"hbp": "high_blood_pressure", "diabetes": "diabetes"}  # 2 is missing
LEVELS = {  # Stata's codes count from 1, the codebook's from 0
    "sex": {1: "male", 2: "female"},
    "race": {1: "white", 2: "black or other"},
    "active": {1: "very", 2: "moderately", 3: "inactive"},
    "exercise": {1: "much", 2: "moderate", 3: "little"},
}


def main() -> None:
    """Writes nhefs.csv beside this file."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python make.py FOLDER_OF_nhefs.dta")
    raw = pd.read_stata(Path(sys.argv[1]) / "nhefs.dta", convert_categoricals=False)
    kept = pd.DataFrame({"person": raw["seqn"].astype(int)})
    for source, name in NUMBERS.items():
        kept[name] = raw[source].round(2)
    for source, name in FLAGS.items():
        kept[name] = raw[source].astype(int)
    for source, name in UNKNOWN_TWO.items():
        kept[name] = raw[source].where(raw[source] != 2).astype("Int64")
    for source, levels in LEVELS.items():
        kept[source] = pd.to_numeric(raw[source]).map(levels)
    kept["died_by_1992"] = raw["death"].map({0.0: "no", 1.0: "yes"})
    kept.to_csv(Path(__file__).with_name("nhefs.csv"), index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
