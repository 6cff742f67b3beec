"""A DuckDB file with views over an exported folder: its tables, and what people ask of them.

The views read the files that the folder's manifest names at the time of asking, so they stay right after
the next export. The file itself is written under another name and then named, over an older one.
"""

import re
from pathlib import Path
from string import Template
from typing import Final

import duckdb

from service.errors import PermanentError
from service.exported.columns import STATES
from service.exported.directory import Directory
from service.exported.manifest import FACTS, LOG, NAME, QUARANTINE

_VIEWS: Final = Path(__file__).parent / "views.sql"
_MANIFEST_BYTES_MAX: Final = 268_435_456
"""DuckDB reads objects of 16 MB unless told otherwise: some 50,000 files."""
_GLOB: Final = re.compile(r"[*?\[]")
"""Special in DuckDB's paths; within brackets it is itself."""


def write(folder: Directory, path: Path) -> None:
    """Write `path` anew. Raises PermanentError where DuckDB cannot read the folder or write the file."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    try:
        with duckdb.connect(str(part)) as connection:
            if not folder.is_local:
                connection.register_filesystem(folder.files)
            for table in (LOG, FACTS, QUARANTINE, *STATES):
                connection.execute(_files_view(folder, table))
            connection.execute(_VIEWS.read_text(encoding="utf-8"))
        part.replace(path)
    except (duckdb.Error, OSError) as error:
        raise PermanentError(f"{path} cannot be written: {str(error).splitlines()[0]}") from None
    finally:
        part.unlink(missing_ok=True)


def _files_view(folder: Directory, table: str) -> str:
    """The rows of `table`, as they are in its files."""
    place = folder.path("") if folder.is_local else f"{folder.place}/"
    return _FILES_VIEW.substitute(
        view="facts_file" if table == FACTS else table,
        table=table,
        place=_quoted(place),
        pattern=_quoted(_GLOB.sub(r"[\g<0>]", place)),
        manifest=NAME,
        manifest_bytes_max=_MANIFEST_BYTES_MAX,
    )


def _quoted(text: str) -> str:
    return text.replace("'", "''")


_FILES_VIEW: Final = Template(
    """
    create view $view as
    select * exclude (filename)
    from read_parquet('$pattern$table/**/*.parquet', hive_partitioning = false, filename = true)
    where filename in (
        select '$place' || file.path
        from (
            select unnest(files) as file
            from read_json('$pattern$manifest', maximum_object_size = $manifest_bytes_max)
        )
    )
    """
)
