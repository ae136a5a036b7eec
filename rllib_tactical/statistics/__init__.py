"""How sure a result is: intervals, Sharpe ratios corrected for trials, overfitting, superiority."""
