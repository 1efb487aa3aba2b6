"""ASOS tables as KMA gives them, and where stations were."""

import numpy as np
import pytest
from eozoo_clay_ta.stations import position_at, read_labels, read_positions
from eozoo_core import ZooError

API = """#START7777
# YYMMDDHHMI STN WD WS GST GST GST PA PS PT PR TA TD HM
202606100900 108 25 2.1 -9 -9.0 -9 1003.9 1013.7 -9 -9.0 20.9 15.6 72.0
202601020300 108 25 2.1 -9 -9.0 -9 1003.9 1013.7 -9 -9.0 -9.0 -15.6 72.0
202601020300 119 25 2.1 -9 -9.0 -9 1003.9 1013.7 -9 -9.0 -99.0 -99.0 -9.0
#7777END
"""
CSV = "지점,지점명,일시,기온(°C),풍속(m/s)\n90,속초,2022-01-01 09:00,-3.5,1.0\n90,속초,2022-01-01 10:00,,1.0\n"


def test_text_interface(tmp_path):
    (tmp_path / "a.txt").write_bytes(API.encode("euc-kr"))
    labels = read_labels(tmp_path)
    assert (
        labels.time.tolist() == np.array(["2026-01-01T18:00", "2026-01-01T18:00", "2026-06-10T00:00"], "M8[m]").tolist()
    )
    assert labels.stn.tolist() == [108, 119, 108]
    assert labels.ta[0] == -9  # a winter's night, not a missing value
    assert np.isnan(labels.ta[1])  # -99.0 is one
    assert labels.ta[2] == np.float32(20.9)


@pytest.mark.parametrize("encoding", ["cp949", "utf-8", "utf-8-sig"])
def test_portal_csv(encoding, tmp_path):
    (tmp_path / "a.csv").write_bytes(CSV.encode(encoding))
    labels = read_labels(tmp_path / "a.csv")
    assert labels.time[0] == np.datetime64("2022-01-01T00:00")
    assert labels.ta[0] == -3.5
    assert np.isnan(labels.ta[1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "hold no line of data|no column"),
        ("# a\n202601020300 108 1 2\n", "a.txt line 2: 4 columns"),
        ("# a\n2026 108 1 2 3 4 5 6 7 8 9 10 11\n", "a.txt line 2: time, station or temperature"),
        ("지점,일시\n", "no column '기온"),
        (CSV.replace("-3.5", "cold"), "line 2: 90, 2022-01-01 09:00, cold cannot be read"),
        (CSV.replace("10:00,", "09:00,7.0"), "station 90 has two temperatures"),
    ],
)
def test_tables_that_cannot_be_read(text, message, tmp_path):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ZooError, match=message):
        read_labels(tmp_path)


def test_a_station_that_moved(tmp_path):
    file = tmp_path / "stations.csv"
    file.write_text(
        "지점,시작일,종료일,지점명,위도,경도\n"
        "100,2000-01-01,2022-06-15,대관령,37.67,128.71\n100,2022-06-15,,대관령,37.70,128.75\n"
    )
    periods = read_positions(file)[100]
    assert position_at(periods, np.datetime64("2022-06-14T14:59")).lat == 37.67
    assert position_at(periods, np.datetime64("2022-06-14T15:00")).lat == 37.70  # midnight in Korea
    assert position_at(periods, np.datetime64("1999-01-01T00:00")) is None
    file.write_text(file.read_text().replace("2022-06-15,,", "2022-06-01,,"))
    with pytest.raises(ZooError, match=r"two positions of station 100"):
        read_positions(file)
    file.write_text("지점,위도,경도\n100,377.0,128.7\n")
    with pytest.raises(ZooError, match=r"line 2: station 100 at latitude 377.0"):
        read_positions(file)
