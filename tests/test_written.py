"""Small files of preparation steps."""

import os

from eozoo_core.run.written import stamp_of, write_table


def test_a_table_is_csv_and_a_stamp_knows_settings_and_files(tmp_path):
    file = write_table(tmp_path / "new" / "a.csv", ["name", "n"], [["x, y", 1], ["z", 2]])
    assert file.read_text() == 'name,n\n"x, y",1\nz,2\n'
    first = stamp_of({"a": 1}, [file])
    assert first == stamp_of({"a": 1}, [file])
    assert first != stamp_of({"a": 2}, [file])
    os.utime(file, ns=(0, 1))
    assert first != stamp_of({"a": 1}, [file])
