"""Importing this package registers every built-in plug-in."""

from __future__ import annotations

from strategies.quant.plugins import bollinger_breakout as bollinger_breakout
from strategies.quant.plugins import cross_sectional_momentum as cross_sectional_momentum
from strategies.quant.plugins import donchian_breakout as donchian_breakout
from strategies.quant.plugins import keltner_channel as keltner_channel
from strategies.quant.plugins import macd_momentum as macd_momentum
from strategies.quant.plugins import moving_average_cross as moving_average_cross
from strategies.quant.plugins import pairs_spread as pairs_spread
from strategies.quant.plugins import rsi_mean_reversion as rsi_mean_reversion
from strategies.quant.plugins import time_series_momentum as time_series_momentum
