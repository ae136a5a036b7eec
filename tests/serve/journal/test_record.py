"""A decision survives the journal: what it was made of, bit for bit, and what was answered."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from serve.journal.record import (
    Caller,
    circumstances_of,
    decision_entry,
    decision_of,
    input_of,
)
from serve.state.store import DamagedError, Head, chained
from tests.serve.journal.answers import decider_of, decisions, plain

SYNERGY = {"synergy_type": "TYPE_2", "direction": 1, "confidence": 0.7, "event_id": "e"}
CALLER = Caller(request_id="r", traceparent=None, address="127.0.0.1")


def test_a_decision_is_made_again_of_its_record(bundle: Bundle, table: FeatureTable) -> None:
    overrides = {"mode": "sample", "temperature": 1.5, "execution_threshold": 0.6}
    cases: list[dict[str, Any]] = [{}, {"synergy_context": SYNERGY, "override_params": overrides}]
    for parts in cases:
        for made in decisions(bundle, table, range(310, 320), **parts):
            (stored,) = chained(Head(), [decision_entry(made, 7, CALLER)])
            record = decision_of(stored)
            assert (record.state_version, record.caller) == (7, CALLER)
            assert record.answered == plain(made)
            request = input_of(record)
            np.testing.assert_array_equal(request.matrix, made.request.matrix)
            assert request.canonical == made.request.canonical
            again = decider_of(bundle).decide_under(request, circumstances_of(record))
            same = msgspec.structs.replace(again.answer, timing=made.answer.timing)
            assert same == made.answer


def test_the_key_of_a_record_is_the_id_of_its_decision(bundle: Bundle, table: FeatureTable) -> None:
    (made,) = decisions(bundle, table, [310])
    entry = decision_entry(made, 1, CALLER)
    assert (entry.kind, entry.key) == ("decision", made.answer.decision_id)
    parts = decision_of(chained(Head(), [entry])[0]).parts
    assert (parts.symbol, parts.price, parts.atr) == ("TEST", table.close[310], table.atr[310])


def test_a_record_of_another_version_and_a_damaged_window_are_refused(
    bundle: Bundle, table: FeatureTable
) -> None:
    (made,) = decisions(bundle, table, [310])
    (stored,) = chained(Head(), [decision_entry(made, 1, CALLER)])
    with pytest.raises(DamagedError, match="decision 1 was written by another version"):
        decision_of(msgspec.structs.replace(stored, data=msgspec.Raw(b"{}")))
    record = decision_of(stored)
    with pytest.raises(DamagedError, match="the window of a decision cannot be read"):
        input_of(msgspec.structs.replace(record, matrix="AAAA"))
    with pytest.raises(DamagedError, match="state 1 must have bars"):
        input_of(msgspec.structs.replace(record, matrix=None))
