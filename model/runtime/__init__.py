"""The half that serves: bundles, engines and the predictor. Never imports torch."""
