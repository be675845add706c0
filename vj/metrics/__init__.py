"""Detection metrics: matching, precision-recall and ROC curves."""
