"""Importing this package registers every built-in plug-in."""

from __future__ import annotations

from strategies.quant.plugins import rsi_mean_reversion as rsi_mean_reversion
