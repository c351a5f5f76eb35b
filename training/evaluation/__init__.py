"""Evaluation: predictions and what came true → metrics with intervals, verdicts, report, model card."""
