"""DeepScaleR and MATH-500 as verl's data sets: OUT/train.parquet and OUT/test.parquet.

    python prepare.py --out data
    python prepare.py --out data --train deepscaler.parquet --test math500.parquet       files instead of the hub

Rows need a problem and an answer. Repeated problems and answers that the verifier cannot judge are left out.
"""

import argparse
from pathlib import Path
from typing import Any

import datasets

from didact.tasks import task
from didact.tasks.math import HUB

INSTRUCTION = "\nPlease reason step by step, and put your final answer within \\boxed{}."


def rows_of(table: datasets.Dataset, source: str) -> list[dict[str, Any]]:
    """Rows as verl's RLHFDataset and reward managers read them. `index` with the source is the prompt's id."""
    verifier, seen, rows = task("math"), set(), []
    for index, (problem, answer) in enumerate(zip(table["problem"], table["answer"], strict=True)):
        if not problem or problem in seen or verifier.verifiable(str(answer)) is not None:
            continue
        seen.add(problem)
        rows.append(
            {
                "data_source": source,
                "prompt": [{"role": "user", "content": problem + INSTRUCTION}],
                "ability": "math",
                "reward_model": {"style": "rule", "ground_truth": str(answer)},
                "extra_info": {"index": index},
            }
        )
    return rows


def load(path: str | None, name: str, split: str) -> datasets.Dataset:
    if path is None:
        return datasets.load_dataset(name, split=split)
    return datasets.load_dataset("parquet", data_files=path, split="train")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    parser.add_argument("--train", help="a parquet file with the columns problem and answer; default: the hub")
    parser.add_argument("--test", help="the same for validation")
    parser.add_argument("--limit", type=int, help="use the first so many rows of each")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for split, path, source in (("train", options.train, "deepscaler"), ("test", options.test, "math500")):
        table = load(path, HUB[split], split)
        table = table.select(range(min(options.limit or len(table), len(table))))
        rows = rows_of(table, source)
        datasets.Dataset.from_list(rows).to_parquet(options.out / f"{split}.parquet")
        print(f"{options.out / split}.parquet: {len(rows):,} of {len(table):,} rows")


if __name__ == "__main__":
    main()
