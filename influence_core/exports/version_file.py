"""Export of a repaired version as one Parquet file for training elsewhere.

Pictures: image, label, split, groups, as Hugging Face writes them; open_dataset reads the file again. Arrays: only the
ids, labels, splits and groups, because the inputs did not change. The metadata state what changed, by whom, and from
which run. Validation and test samples are included unchanged.
"""

import json
from io import BytesIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet

from influence_core.data.samples import Samples
from influence_core.repair.repairs import Version
from influence_core.system import atomic
from influence_core.system.safe_tables import Target, opened

KEY = b"influence_explorer"
ROWS = 1000  # per row group: the most pictures in memory at once


def write_version(version: Version, val: Samples, test: Samples | None, target: Target) -> int:
    """Write the remaining training samples, with val and test; returns the number of training rows."""
    train = version.remaining()
    parts = [part for part in (train, val, test) if part is not None and len(part)]
    facts = {KEY: json.dumps(atomic.plain(version.to_json())).encode()}
    with opened(target) as file:
        if train.kind == "image":
            _write_pictures(parts, facts, file)
        else:
            table = pa.Table.from_pandas(pd.concat([_labels(part) for part in parts]), preserve_index=False)
            parquet.write_table(table.replace_schema_metadata(facts), file)
    return len(train)


def version_bytes(version: Version, val: Samples, test: Samples | None) -> bytes:
    """Return the content of the same file, for a download."""
    target = BytesIO()
    write_version(version, val, test, target)
    return target.getvalue()


def _write_pictures(parts: list[Samples], facts: dict[bytes, bytes], file) -> None:
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    writer = None
    for part in parts:
        for start in range(0, len(part), ROWS):
            rows = range(start, min(start + ROWS, len(part)))
            labels = _labels(part).iloc[list(rows)].drop(columns="sample_id")
            images = [{"bytes": part.image_bytes(row)[0], "path": part.ids[row]} for row in rows]
            table = pa.Table.from_pandas(labels, preserve_index=False)
            table = table.add_column(0, "image", pa.array(images, picture)).replace_schema_metadata(facts)
            writer = writer or parquet.ParquetWriter(file, table.schema, compression="zstd")
            writer.write_table(table)
    if writer is not None:
        writer.close()


def _labels(part: Samples) -> pd.DataFrame:
    names = [part.classes[int(label)] for label in part.labels]
    table = pd.DataFrame({"sample_id": part.ids, "label": names, "split": part.split})
    return pd.concat([table, part.groups.reset_index(drop=True)], axis=1)
