"""The MAPPO learner: PPO's clipped loss for the actors, advantages of one centralized critic."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar, Final

import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core import ALL_MODULES
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import ENTROPY_KEY, POLICY_LOSS_KEY
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.utils.metrics import (
    MODULE_TRAIN_BATCH_SIZE_MEAN,
    NUM_ENV_STEPS_TRAINED,
    NUM_ENV_STEPS_TRAINED_LIFETIME,
    NUM_MODULE_STEPS_TRAINED,
    NUM_MODULE_STEPS_TRAINED_LIFETIME,
)
from torch import Tensor

from rllib_tactical.errors import TrainingError
from rllib_tactical.rl.algorithm.connector import Batch, Epoch, Minibatch, Minibatches, by_epoch
from rllib_tactical.rl.algorithm.threads import ChainRunner
from rllib_tactical.rl.extensions import EXTENSIONS, restore_extensions
from rllib_tactical.rl.names import CRITIC
from rllib_tactical.rl.sampling.market_env import MARKET
from rllib_tactical.runtime.process import disable_uninitialized_memory_fill

SKIPPED = "skipped_updates"
"""Metric: updates of a module that were left out because its gradient was not finite."""


BATCH: Final = "batch_class"
"""Key in ``learner_config_dict``: ``CentralizedBatch``, which makes the batch, or a subclass."""

THREADS: Final = "threads"
"""Key in ``learner_config_dict``: how many modules are computed at a time."""

RANDOM = "random"
"""Where a learner's state holds that of its random number generators, by kind of device."""


class MappoLearner(PPOTorchLearner):
    """PPO for the actors with advantages of one centralized critic.

    The critic is an RLModule of its own, so it has an optimizer, is saved, restored and wrapped for
    several learners like any other; its loss is its own method.

    Within an epoch no module needs another: each has its own loss, gradient and optimizer. So they
    are computed on several threads, with the results of one.
    """

    modules_are_independent: ClassVar[bool] = True
    """Whether the loss of each module needs that module's outputs only."""

    _threads: ChainRunner | None = None

    def build(self) -> None:
        """Build as PPO does, then append the connector that makes the batch."""
        settings = self.config.learner_config_dict
        restore_extensions(settings[EXTENSIONS])  # before the modules, which may be a user's
        super().build()
        disable_uninitialized_memory_fill()
        self._learner_connector.append(self.make_connector(settings[BATCH]))
        # a GPU has its own queue, and several learners exchange gradients in one order
        alone = self.config.num_learners <= 1 and self._device.type == "cpu"
        if alone and self.modules_are_independent and settings[THREADS] > 1:
            self._threads = ChainRunner(settings[THREADS])
            self.metrics._threading_lock = threading.RLock()  # as RLlib's own IMPALA has it
        self._draws = self._generators()

    def shutdown(self) -> None:
        """End the threads."""
        super().shutdown()
        if self._threads is not None:
            self._threads.close()

    def make_connector(self, batch_class: Any, **more: Any) -> Any:
        """Return the connector: a ``CentralizedBatch`` or a subclass, which may need ``more``."""
        return batch_class(
            market=self.config.env_config[MARKET],
            gamma=self.config.gamma,
            lambda_=self.config.lambda_,
            distributed=self.config.num_learners > 1,
            **more,
        )

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Return RLlib's state and that of the draws: order of rows, dropout."""
        state: dict[str, Any] = super().get_state(
            components, not_components=not_components, **kwargs
        )
        if self._check_component(RANDOM, components, not_components):
            state[RANDOM] = {device: draws.numpy() for device, draws in self._draws.items()}
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Take RLlib's state, and that of the draws if it is there."""
        super().set_state(state)
        random = state.get(RANDOM, {})
        self._draws |= {
            device: torch.tensor(random[device]) for device in self._draws if device in random
        }

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Update as RLlib does, with draws that depend on no other code of the process.

        PyTorch's generators are the process's own: validation, callbacks and other algorithms
        draw from them too, and find them as they left them.
        """
        others = self._generators()
        self._set_generators(self._draws)
        try:
            return super().update(*args, **kwargs)
        finally:
            self._draws = self._generators()
            self._set_generators(others)

    def _generators(self) -> dict[str, Tensor]:
        states = {"cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self._device)
        return states

    def _set_generators(self, states: dict[str, Tensor]) -> None:
        torch.set_rng_state(states["cpu"])
        if "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], self._device)

    @classmethod
    def rl_module_required_apis(cls) -> list[type]:
        """Ask nothing of the actors: no actor has a value function."""
        return []

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Give a module Adam, all of whose parameters are updated in one call."""
        params = self.get_parameters(self._module[module_id])
        self.register_optimizer(
            module_id=module_id,
            optimizer=torch.optim.Adam(params, fused=True),
            params=params,
            lr_or_lr_schedule=config.lr,
        )

    def compute_loss_for_module(
        self,
        *,
        module_id: str,
        config: Any,
        batch: dict[str, Any],
        fwd_out: dict[str, Any],
    ) -> Tensor:
        """Return one actor's loss: clipped surrogate minus the entropy bonus.

        L = -min(r A, clip(r, 1 - eps, 1 + eps) A) - c H (Schulman et al., 2017, eq. 7 and 9).
        """
        log_probabilities, log_ratio = self.log_ratio(fwd_out, batch)
        ratio, advantages = log_ratio.exp(), batch[Postprocessing.ADVANTAGES]
        clipped = ratio.clamp(1 - config.clip_param, 1 + config.clip_param)
        surrogate = torch.min(ratio * advantages, clipped * advantages).mean()
        entropy = -(log_probabilities.exp() * log_probabilities).sum(-1).mean()
        coefficient = self.entropy_coeff_schedulers_per_module[module_id].get_current_value()
        with torch.no_grad():
            self.metrics.log_dict(
                {
                    POLICY_LOSS_KEY: -surrogate,
                    ENTROPY_KEY: entropy,
                    "approximate_kl": (ratio - 1 - log_ratio).mean(),
                    "clip_fraction": (ratio != clipped).float().mean(),
                },
                key=module_id,
                window=self.updates_per_batch,
            )
        loss: Tensor = -surrogate - coefficient * entropy
        return loss

    def log_ratio(self, fwd_out: dict[str, Any], batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return an actor's log probabilities (bars, 3) and log ratios (bars, K).

        K accounts stood on each bar.
        """
        log_probabilities = torch.log_softmax(fwd_out[Columns.ACTION_DIST_INPUTS], dim=-1)
        logp = log_probabilities.gather(-1, batch[Columns.ACTIONS].long())
        return log_probabilities, logp - batch[Columns.ACTION_LOGP]

    @property
    def updates_per_batch(self) -> int:
        """Minibatches per sampled batch: metrics are means over them."""
        epochs: int = self.config.num_epochs
        return epochs * self.minibatch_count

    @property
    def minibatch_count(self) -> int:
        """Minibatches per epoch, whatever a batch holds: the same for every learner."""
        rows, minibatch = self.config.train_batch_size_per_learner, self.config.minibatch_size
        return max(1, round(float(rows / (minibatch or rows))))

    def postprocess_gradients(self, gradients_dict: Any) -> Any:
        """Clip each module's gradient by its own norm."""
        for module_id in self.module.keys():  # noqa: SIM118 - not a dictionary
            self._clip_gradient(module_id)
        return gradients_dict

    def _clip_gradient(self, module_id: str) -> None:
        limit = self.config.get_config_for_module(module_id).grad_clip
        for name, optimizer in self.get_optimizers_for_module(module_id):
            params = [p for group in optimizer.param_groups for p in group["params"]]
            norm = torch.nn.utils.clip_grad_norm_(params, limit or math.inf, foreach=True)
            self.metrics.log_value(
                (module_id, f"gradients_{name}_global_norm"), norm, window=self.updates_per_batch
            )
            # a gradient that is not finite must not reach the optimizer's moments
            skipped = not bool(torch.isfinite(norm))
            self.metrics.log_value((module_id, SKIPPED), float(skipped), reduce="sum")
            if skipped:
                optimizer.zero_grad(set_to_none=True)

    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Set what follows a schedule to its value at this batch's first step.

        RLlib does so after an update only: the first one of a continued run would be made with the
        rates of its checkpoint and the entropy coefficient of a new run. And it goes by the steps
        sampled, of which an iteration has more while an env runner is lost.
        """
        super().before_gradient_based_update(timesteps=timesteps)
        begun = self._weights_seq_no * self.config.total_train_batch_size
        for optimizer, schedule in self._optimizer_lr_schedules.items():
            self._set_optimizer_lr(optimizer, lr=float(schedule.update(timestep=begun)))
        for module_id in self.module.keys():  # noqa: SIM118 - not a dictionary
            self.entropy_coeff_schedulers_per_module[module_id].update(timestep=begun)

    def apply_gradients(self, gradients_dict: Any) -> None:
        """Take one step of every optimizer."""
        for optimizer in self._named_optimizers.values():
            optimizer.step()

    def _uncompiled_update(self, batch: dict[str, Any], **kwargs: Any) -> tuple[Any, Any, Any]:
        """Update the modules by a minibatch, as RLlib does; with threads by those of an epoch."""
        by_epochs = isinstance(next(iter(batch.values()), None), list)  # not in RLlib's own loop
        if self._threads is None or not by_epochs:
            updated: tuple[Any, Any, Any] = super()._uncompiled_update(batch, **kwargs)
            return updated
        outputs: dict[str, Any] = {}
        losses: dict[str, Tensor] = {}

        def update(module_id: str, columns: dict[str, Tensor]) -> None:
            output, loss = self._update_module(module_id, columns)
            outputs[module_id], losses[module_id] = output, loss

        # the critic costs as much as two actors
        longest_first = sorted(batch, key=lambda module_id: module_id != CRITIC)
        self._threads.run(
            [
                [partial(update, module_id, columns) for columns in batch[module_id]]
                for module_id in longest_first
            ]
        )
        return outputs, losses, {}

    def _update_module(
        self, module_id: str, columns: dict[str, Tensor]
    ) -> tuple[dict[str, Any], Tensor]:
        """Take one step of one module; return its outputs and its loss."""
        output = self.module[module_id].forward_train(columns)
        losses = self.compute_losses(fwd_out={module_id: output}, batch={module_id: columns})
        loss: Tensor = losses[module_id]
        optimizers = [optimizer for _, optimizer in self.get_optimizers_for_module(module_id)]
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        if loss.grad_fn is not None:  # else all of its parameters are frozen
            loss.backward()  # type: ignore[no-untyped-call]
        self._clip_gradient(module_id)
        for optimizer in optimizers:
            optimizer.step()
        return output, loss

    def _create_iterator_if_necessary(
        self, *, training_data: Any, num_epochs: int = 1, **kwargs: Any
    ) -> Iterable[Minibatch | Epoch]:
        fewest = self._fewest(sum(map(len, training_data.episodes)))
        if fewest == 0:
            raise TrainingError(
                "a batch must have a bar for every learner: enlarge steps_per_update"
            )
        batch = self._learner_connector(
            rl_module=self.module,
            batch={},
            episodes=training_data.episodes,
            shared_data={},
            metrics=self.metrics,
        )
        # RLlib knows the actors as policies that may be frozen; the critic always learns
        trained = {
            module_id: columns
            for module_id, columns in batch.items()
            if module_id == CRITIC or self.should_module_be_updated(module_id, batch)
        }
        count = min(self.minibatch_count, fewest)
        minibatches = self.minibatches(trained, num_epochs, count)
        return minibatches if self._threads is None else by_epoch(minibatches, count)

    def minibatches(self, batch: Batch, epochs: int, count: int) -> Minibatches:
        """Return what the learner steps through: ``epochs`` passes in ``count`` minibatches."""
        return Minibatches(batch, epochs, count)

    def _fewest(self, rows: int) -> int:
        """Return the smallest number of rows of any learner: all must make as many steps."""
        if self.config.num_learners <= 1:
            return rows
        shared = torch.tensor(rows, device=self._device)
        torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MIN)
        return int(shared)

    def _set_slicing_by_batch_id(self, batch: Minibatch, *, value: bool) -> Minibatch:
        """Do nothing: there are no recurrent states to keep together."""
        return batch

    def _log_steps_trained_metrics(self, batch: Minibatch | Epoch) -> None:
        """Count account steps, where RLlib would count rows."""
        log = self.metrics.log_value
        for steps in batch.steps_by_minibatch():
            for module_id in batch.policy_batches:
                log((module_id, MODULE_TRAIN_BATCH_SIZE_MEAN), steps, reduce="mean")
                log((module_id, NUM_MODULE_STEPS_TRAINED), steps, reduce="sum")
                log((module_id, NUM_MODULE_STEPS_TRAINED_LIFETIME), steps, reduce="lifetime_sum")
            log((ALL_MODULES, NUM_ENV_STEPS_TRAINED), steps, reduce="sum", with_throughput=True)
            log((ALL_MODULES, NUM_ENV_STEPS_TRAINED_LIFETIME), steps, reduce="lifetime_sum")
