"""The orchestrator: proposes trials, runs them, records them, decides."""
