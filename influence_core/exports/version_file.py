"""How does a repaired version leave this tool, so that others can train on it?

Pictures: one Parquet file as Hugging Face writes it (image, label, split, groups), which open_dataset reads again. Its
metadata say what changed, by whom, and from which run. Arrays: the labels alone as Parquet, beside the inputs they
belong to. Validation and test samples go along unchanged.
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
ROWS = 1000  # of one row group: pictures are kept in memory for no longer


def write_version(version: Version, val: Samples, test: Samples | None, target: Target) -> int:
    """Write the samples that remain, with val and test; returns the number of training rows."""
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
    """The same file in memory, for a download."""
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
