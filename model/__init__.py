"""Learn, measure, compare and export an FCN."""
