from __future__ import annotations

from pathlib import Path
from typing import Any

from rllib_tactical.sweep.history import FAILED, FINISHED, TrialHistory
from rllib_tactical.sweep.hparams import write_hparams


def trial(number: int, net_pnl: float | None, status: str = FINISHED) -> TrialHistory:
    params = {
        "training.actor_lr": 0.001 * (number + 1),
        "model.hidden_sizes": [8, number + 1],
        "rewards": "full",
        "training.strict": True,
    }
    result = {"net_pnl": net_pnl, "trades": 5 + number, "env_steps": 512, "seconds": 1.0}
    return TrialHistory(number, params, {} if net_pnl is None else {2: result}, status)


def sessions(folder: Path) -> list[Any]:
    """Return what TensorBoard's own page of hyperparameters shows, best first."""
    from tensorboard import context
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    runs = plugin_event_multiplexer.EventMultiplexer()
    runs.AddRunsFromDirectory(str(folder))
    runs.Reload()
    provider = data_provider.MultiplexerDataProvider(runs, str(folder))
    plugin = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    asked = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=100, allowed_statuses=list(api_pb2.Status.values())
    )
    name = api_pb2.MetricName(tag="validation/net_pnl", group="")
    asked.col_params.add(metric=name, order=api_pb2.ORDER_DESC)
    request = context.RequestContext()
    found = list_session_groups.Handler(request, plugin, "", asked).run()
    return list(found.session_groups)


def test_tensorboards_own_page_shows_every_trial_with_a_result(tmp_path: Path) -> None:
    folder = tmp_path / "hparams"
    trials = [trial(0, 100.0), trial(1, 1_500.0), trial(2, None, FAILED), trial(3, -5.0, FAILED)]
    write_hparams(folder, trials)
    found = sessions(folder)
    assert [group.name for group in found] == ["0001", "0000", "0003"]
    best = found[0]
    assert best.hparams["training.actor_lr"].number_value == 0.002
    assert best.hparams["model.hidden_sizes"].string_value == "[8, 2]"
    assert best.hparams["rewards"].string_value == "full"
    assert best.hparams["training.strict"].bool_value is True
    assert {v.name.tag: v.value for v in best.metric_values} == {
        "validation/net_pnl": 1_500.0,
        "validation/trades": 6.0,
    }
    assert [group.sessions[0].status for group in found] == [1, 1, 2]  # the last one failed


def test_what_was_written_before_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "hparams"
    write_hparams(folder, [trial(0, 1.0), trial(1, 2.0)])
    write_hparams(folder, [trial(0, 3.0)])
    (group,) = sessions(folder)
    assert group.metric_values[0].value == 3.0
