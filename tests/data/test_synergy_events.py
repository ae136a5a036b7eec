import json

import numpy as np
import pytest

from rllib_tactical.data.synergy_events import (
    read_events,
    synergies_for,
    synergy_warnings,
    track_events,
)
from rllib_tactical.domain.features.synergy import SynergyTrack
from rllib_tactical.domain.simulation.history import build_history
from rllib_tactical.errors import DataError, UnreadableError
from tests.market import INSTRUMENT, random_bars, sessions_of_length

BARS = random_bars(500)
T0 = int(BARS.timestamp_s[0])


def event(**changes):
    base = {
        "event_id": "a",
        "timestamp": T0 + 300 * 10,
        "synergy_type": "TYPE_2",
        "direction": -1,
        "confidence": 0.7,
    }
    return base | changes


def write(path, *events):
    path.write_text("\n".join(json.dumps(each) for each in events) + "\n")
    return path


def test_an_event_is_in_force_from_the_close_that_knows_it_for_three_bars(tmp_path):
    # bar 10 opens at this second, so bar 9 closes on it: the first close that knows the event
    track = track_events(read_events(write(tmp_path / "e", event())), BARS)
    assert np.flatnonzero(track.kind).tolist() == [9, 10, 11]
    assert set(track.kind[9:12]) == {2}
    assert set(track.direction[9:12]) == {-1}
    assert set(track.confidence[9:12]) == {0.7}


def test_an_event_inside_a_bar_is_known_at_that_bars_close(tmp_path):
    later = write(tmp_path / "e", event(timestamp=T0 + 300 * 10 + 1))
    track = track_events(read_events(later), BARS)
    assert np.flatnonzero(track.kind).tolist() == [10, 11, 12]


def test_times_may_be_iso_text(tmp_path):
    stamp = str(np.datetime64(T0 + 3_000, "s"))
    for text in (stamp, stamp + "Z", stamp + "+00:00"):
        (found,) = read_events(write(tmp_path / "e", event(timestamp=text)))
        assert found.time_s == T0 + 3_000


def test_a_later_event_replaces_and_a_repeated_id_counts_once(tmp_path):
    path = write(
        tmp_path / "e",
        event(event_id="b", timestamp=T0 + 300 * 11, direction=1, synergy_type="TYPE_1"),
        event(),
        event(direction=1),
    )
    track = track_events(read_events(path), BARS)
    assert track.direction[9:13].tolist() == [-1, 1, 1, 1]
    assert track.kind[9:13].tolist() == [2, 1, 1, 1]


@pytest.mark.parametrize("name", ["TYPE_9", "NONE", "type_1"])
def test_an_unknown_type_is_in_force_and_warned_of(tmp_path, name):
    path = write(tmp_path / "e", event(timestamp=T0 + 300 * 10, synergy_type=name))
    track = track_events(read_events(path), BARS)
    assert track.kind[9:14].tolist() == [5, 5, 5, 0, 0]
    assert track.direction[9:14].tolist() == [-1, -1, -1, 0, 0]
    assert synergy_warnings(track) == {"unknown_synergy_type": 3}
    assert synergy_warnings(SynergyTrack.none(5)) == synergy_warnings(None) == {}


def test_events_outside_the_history_are_left_out(tmp_path):
    path = write(
        tmp_path / "e",
        event(event_id="x", timestamp=T0 - 1),
        event(event_id="y", timestamp=T0 + 300 * 501),
    )
    assert not track_events(read_events(path), BARS).kind.any()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"synergy_type": 9}, "synergy_type"),
        ({"direction": 0}, "direction"),
        ({"confidence": 1.5}, "confidence"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"event_id": ""}, "event_id"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_bad_event_is_refused_by_line_and_field(tmp_path, changes, named):
    path = write(tmp_path / "events.jsonl", event(), event(event_id="b") | changes)
    with pytest.raises(DataError, match=rf"line 2.*{named}"):
        read_events(path)


def test_a_line_that_is_no_json_and_a_missing_file(tmp_path):
    (tmp_path / "e").write_text("{")
    with pytest.raises(DataError, match="line 1"):
        read_events(tmp_path / "e")
    with pytest.raises(UnreadableError, match="nowhere"):
        read_events(tmp_path / "nowhere")


def test_the_three_sources(tmp_path):
    sessions = sessions_of_length(len(BARS))
    assert synergies_for("detect", BARS) is None
    quiet = build_history(BARS, sessions, INSTRUMENT, synergies_for("none", BARS))
    assert not quiet.synergy.kind.any()
    path = write(tmp_path / "e", event())
    told = build_history(BARS, sessions, INSTRUMENT, synergies_for(str(path), BARS))
    assert np.flatnonzero(told.synergy.kind).tolist() == [9, 10, 11]
