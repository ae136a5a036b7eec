"""The strategy: bars of Nautilus in, orders with brackets out, by the decisions of a bundle.

It converts; what is decided, and when an order may be sent, is the service's and the trader's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import OrderSide, TimeInForce
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import ClientOrderId, InstrumentId
from nautilus_trader.trading.strategy import Strategy

from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.config.service import ServiceConfig
from rllib_tactical.data.calendar.sessions import session_close_s
from rllib_tactical.domain.simulation.history import EMBARGO_BARS
from rllib_tactical.errors import TacticalError
from rllib_tactical.gateways.nautilus.instruments import require_same
from rllib_tactical.gateways.trader import EntryOrder, Trader
from rllib_tactical.live.local import LocalService
from serve.api.write_requests import BarInput, BrokerAccount, FillInput

NANOS: Final = 1_000_000_000
_CLOSE_ALERT: Final = "close-of-session"


class TacticalConfig(StrategyConfig, frozen=True):  # type: ignore[call-arg]
    """Settings of the strategy.

    Attributes:
        bundle: folder of the policy bundle.
        instrument_id: what is traded; tick, lot step and multiplier must be the bundle's.
        bar_type: bars of the bundle's length.
        stamp: whether ``ts_event`` of a bar is its open or its close.
        live: whether bars are of now; false in a backtest.
        history: how many bars of the past are requested at the start; 0 for none.
        flatten_before_close_s: how long before a session's close the position is closed.
        flatten_on_stop: whether a stop of the strategy closes the position.
    """

    bundle: str
    instrument_id: InstrumentId
    bar_type: BarType
    stamp: Literal["open", "close"] = "close"
    live: bool = True
    history: int = 4 * EMBARGO_BARS
    flatten_before_close_s: float = 5.0
    flatten_on_stop: bool = True


class TacticalStrategy(Strategy):
    """Trades one instrument with a bundle; see ``TacticalConfig``."""

    def __init__(self, config: TacticalConfig) -> None:
        super().__init__(config)
        self._bundle = load_bundle(Path(config.bundle))
        service = ServiceConfig(live_bars=config.live)
        self.service = LocalService(self._bundle, service, lambda: self.clock.timestamp())
        self.trader = Trader(
            self.service, self, self._bundle.instrument.symbol, lambda: self.clock.timestamp()
        )
        self._past: list[tuple[int, BarInput]] = []
        self._entry: EntryOrder | None = None
        self._engine_instrument: Any = None
        self.was_refused: str | None = None

    def on_start(self) -> None:
        """Check the instrument, ask for bars of the past, reconcile, and subscribe to bars."""
        config = self.config
        self._engine_instrument = self.cache.instrument(config.instrument_id)
        try:
            if self._engine_instrument is None:
                raise TacticalError(f"the venue must have {config.instrument_id}, found none")
            require_same(self._bundle.instrument, self._engine_instrument)
            seconds = config.bar_type.spec.timedelta.total_seconds()
            if seconds != self._bundle.bar_seconds:
                raise TacticalError(
                    f"bar_type must have bars of {self._bundle.bar_seconds} s, found {seconds:g} s"
                )
        except TacticalError as error:
            self.was_refused = str(error)
            self.log.error(self.was_refused)
            self.stop()
            return
        if config.history:
            from datetime import timedelta

            span = timedelta(seconds=config.history * self._bundle.bar_seconds)
            # weekends and nights have no bars: ask for a longer time
            self.request_bars(config.bar_type, start=self.clock.utc_now() - 4 * span)
        else:
            self.trader.connect()
        self.subscribe_bars(config.bar_type)

    def on_historical_data(self, data: Any) -> None:
        """Keep a bar of the past until one of the present follows."""
        if isinstance(data, Bar):
            self._past.append((self._open_s(data), self._bar(data)))

    def on_bar(self, bar: Bar) -> None:
        """Decide at the close of a bar."""
        given = self._bar(bar)
        if self._past:
            older = {seconds: past for seconds, past in self._past if seconds < self._open_s(bar)}
            self.trader.warm_up(older[seconds] for seconds in sorted(older))
            self._past.clear()
        if not self.trader.is_connected:
            self._connect()
        self.trader.closed(given)

    def on_order_filled(self, event: OrderFilled) -> None:
        """Report a fill; watch the session's close as long as a position is open."""
        order = self.cache.order(event.client_order_id)
        is_last = order is None or order.is_closed
        self.trader.filled(self._fill(event), event.client_order_id.value, is_last)
        if is_last:
            self._size_bracket(order)
        if self.portfolio.is_flat(self.config.instrument_id):
            self._forget_close()
        else:
            self._watch_close()

    def on_order_canceled(self, event: Any) -> None:
        """Take note that an order is done; protect what it has filled."""
        self._size_bracket(self.cache.order(event.client_order_id))
        self.trader.ended(event.client_order_id.value)

    def on_order_expired(self, event: Any) -> None:
        """Take note that an order is done."""
        self.on_order_canceled(event)

    def on_order_rejected(self, event: Any) -> None:
        """Take note of a refusal; a position whose bracket was refused is closed."""
        order_id = event.client_order_id.value
        entry = self._entry
        self.trader.ended(order_id)
        if entry is not None and order_id in (entry.stop_id, entry.target_id):
            self.trader.unprotected(f"{order_id}: {event.reason}")

    def on_order_denied(self, event: Any) -> None:
        """Take note of a refusal of the engine's own risk checks."""
        self.on_order_rejected(event)

    def on_stop(self) -> None:
        """Stop trading; close the position where the settings say so."""
        self.trader.disconnected()
        if self.config.flatten_on_stop and self.was_refused is None:
            self.trader.flatten("stop")

    def kill(self, note: str) -> None:
        """Close the position and order nothing any more."""
        self.trader.kill("gateway", note)

    def enter(self, order: EntryOrder) -> None:
        """Send a market order with its bracket."""
        self._entry = order
        instrument = self._engine_instrument
        self.submit_order_list(
            self.order_factory.bracket(
                instrument_id=self.config.instrument_id,
                order_side=OrderSide.BUY if order.side > 0 else OrderSide.SELL,
                quantity=instrument.make_qty(order.quantity),
                time_in_force=TimeInForce.IOC,
                sl_trigger_price=instrument.make_price(order.stop),
                tp_price=instrument.make_price(order.target),
                tp_post_only=False,  # it may be in the market at once
                entry_client_order_id=ClientOrderId(order.entry_id),
                sl_client_order_id=ClientOrderId(order.stop_id),
                tp_client_order_id=ClientOrderId(order.target_id),
            )
        )

    def close_position(self, order_id: str) -> None:
        """Cancel the bracket and close the position at the market."""
        instrument_id = self.config.instrument_id
        self.cancel_all_orders(instrument_id)
        held = self.portfolio.net_position(instrument_id)
        self.submit_order(
            self.order_factory.market(
                instrument_id=instrument_id,
                order_side=OrderSide.SELL if held > 0 else OrderSide.BUY,
                quantity=self._engine_instrument.make_qty(abs(held)),
                time_in_force=TimeInForce.IOC,
                reduce_only=True,
                client_order_id=ClientOrderId(order_id),
            )
        )

    def account(self) -> BrokerAccount:
        """Return position, equity and entry price as the engine has them."""
        instrument_id = self.config.instrument_id
        account = self.portfolio.account(instrument_id.venue)
        equity = None
        if account is not None:
            currency = account.base_currency or self._engine_instrument.quote_currency
            open_pnl = self.portfolio.unrealized_pnl(instrument_id)
            equity = account.balance_total(currency).as_double()
            equity += 0.0 if open_pnl is None else open_pnl.as_double()
        held = float(self.portfolio.net_position(instrument_id))
        positions = self.cache.positions_open(instrument_id=instrument_id)
        entry_price = float(positions[0].avg_px_open) if held and positions else None
        return BrokerAccount(position=held, equity=equity, entry_price=entry_price)

    def fills(self) -> Iterator[FillInput]:
        """Yield the fills of this strategy's orders, oldest first."""
        orders = self.cache.orders(instrument_id=self.config.instrument_id, strategy_id=self.id)
        events = [e for order in orders for e in order.events if isinstance(e, OrderFilled)]
        for event in sorted(events, key=lambda event: event.ts_event):
            yield self._fill(event)

    def _connect(self) -> None:
        try:
            self.trader.connect()
        except TacticalError as error:
            self.log.error(f"not reconciled, nothing is traded: {error}")

    def _open_s(self, bar: Bar) -> int:
        seconds = int(bar.ts_event // NANOS)
        return seconds - self._bundle.bar_seconds if self.config.stamp == "close" else seconds

    def _bar(self, bar: Bar) -> BarInput:
        return BarInput(
            self._open_s(bar),
            # of the decimal text, as files are read: bit for bit the backtest's
            float(str(bar.open)),
            float(str(bar.high)),
            float(str(bar.low)),
            float(str(bar.close)),
            float(str(bar.volume)),
        )

    def _fill(self, event: OrderFilled) -> FillInput:
        return FillInput(
            fill_id=f"{event.client_order_id.value}:{event.trade_id.value}",
            side="BUY" if event.order_side == OrderSide.BUY else "SELL",
            quantity=float(str(event.last_qty)),
            price=float(str(event.last_px)),
            timestamp=event.ts_event // NANOS,
            commission=event.commission.as_double(),
        )

    def _size_bracket(self, order: Any) -> None:
        """Let stop and target cover what an entry has filled, where that is not all of it."""
        entry = self._entry
        if order is None or entry is None or order.client_order_id.value != entry.entry_id:
            return
        if order.filled_qty == order.quantity or not order.filled_qty:
            return
        for child_id in (entry.stop_id, entry.target_id):
            child = self.cache.order(ClientOrderId(child_id))
            if child is not None and child.is_open and child.quantity != order.filled_qty:
                self.modify_order(child, quantity=order.filled_qty)

    def _watch_close(self) -> None:
        if _CLOSE_ALERT in self.clock.timer_names:
            return
        close_s = session_close_s(int(self.clock.timestamp()), self._bundle.instrument)
        if close_s is None:
            return
        at_ns = int((close_s - self.config.flatten_before_close_s) * NANOS)
        self.clock.set_time_alert_ns(_CLOSE_ALERT, at_ns, self._close_of_session)

    def _forget_close(self) -> None:
        if _CLOSE_ALERT in self.clock.timer_names:
            self.clock.cancel_timer(_CLOSE_ALERT)

    def _close_of_session(self, event: Any) -> None:
        self.trader.flatten("session")
