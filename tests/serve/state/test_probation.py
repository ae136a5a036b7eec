"""When a promoted bundle has to go."""

from __future__ import annotations

import msgspec

from rllib_tactical.bundle.bundle import Bundle
from serve.state.probation import Probation
from serve.state.records import AUTOMATIC, ModelRecord, model_record


def models(bundle: Bundle) -> tuple[ModelRecord, ModelRecord]:
    """Return the record of a start with a bundle, and of a promotion of another."""
    first = model_record(bundle, "start")
    return first, msgspec.structs.replace(first, bundle_id="b" * 64, launch=None)


def test_a_halt_after_the_promotion_brings_the_former_bundle_back(bundle: Bundle) -> None:
    first, second = models(bundle)
    probation = Probation()
    assert probation.rollback(True, 3, 20) is None  # it was not promoted
    probation.choose(first, second, 3)
    assert probation.rollback(True, 3, 20) is None  # it was halted when it came
    probation.see(True)
    assert probation.rollback(True, 3, 20) is None
    probation.see(False)
    assert probation.rollback(False, 3, 20) is None
    record = probation.rollback(True, 4, 20)
    assert record is not None
    assert (record.bundle_id, record.path, record.launch) == (first.bundle_id, first.path, None)
    assert record.by == AUTOMATIC
    assert record.note == "its session drawdown limit halted trading in session 2 of its probation"
    again = Probation()
    again.resume(probation.state())
    assert again.rollback(True, 4, 20) == record
    # and that one is not on probation
    probation.choose(second, record, 4)
    probation.see(False)
    assert probation.rollback(True, 5, 20) is None


def test_probation_ends_after_its_sessions_and_with_the_next_choice(bundle: Bundle) -> None:
    first, second = models(bundle)
    probation = Probation()
    probation.choose(first, second, 3)
    probation.see(False)
    assert probation.rollback(True, 22, 20) is not None
    assert probation.rollback(True, 23, 20) is None
    assert probation.rollback(True, 3, 0) is None  # never
    probation.choose(second, msgspec.structs.replace(second, request_id="again"), 9)
    assert probation.rollback(True, 22, 20) is not None  # the same bundle: nothing begins anew
    probation.choose(second, first, 9)  # by a start
    probation.see(False)
    assert probation.rollback(True, 9, 20) is None


def test_before_the_first_price_there_is_no_session(bundle: Bundle) -> None:
    probation = Probation()
    probation.choose(*models(bundle), None)
    probation.see(False)
    record = probation.rollback(True, 1, 20)
    assert record is not None and "in session 2 of" in record.note
