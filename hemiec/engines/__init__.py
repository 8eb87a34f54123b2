"""Named protocols and the calculators behind them."""
